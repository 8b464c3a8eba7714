"""A model of one partition of trades: what must come of each trade, told from the order of the log alone.

It knows nothing of windows, frontiers or states: sorted lists and sets, the contract of lateness and retention, and
`tests.support.reference` for the numbers of a candle.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tables.candles import CandleRules
from tables.records import MINUTE_MS, TIMEFRAME_MS, Candle, Trade
from tests.support.reference import FIELDS, Row, reference_candles

__all__ = ["DUPLICATE", "FUTURE", "LATE", "TAKEN", "Entry", "Folded", "PairModel", "made_trade", "ranges_of", "row_of"]

TAKEN, DUPLICATE, LATE, FUTURE = "taken", "duplicate", "late", "future-timestamp"
_NS = 1_000_000


@dataclass(frozen=True)
class Entry:
    """One record of the log, and the fate of its trades when they are folded for the first time."""

    pair: str
    trades: tuple[Trade, ...]
    appended_ms: int
    fates: tuple[str, ...]


def made_trade(pair: str, trade_id: int, ts_ms: int, source: str) -> Trade:
    """Make a trade whose price, amount and side follow from its id."""
    price = 100 + trade_id * 7_919 % 1_000 / 100
    qty = (trade_id * 104_729 % 99_991 + 1) / 10**6
    return Trade(pair, trade_id, ts_ms * _NS, price, qty, "buy" if trade_id % 3 else "sell", "", source)


def ranges_of(ids: Sequence[int]) -> list[int]:
    """Give sorted ids as `[lo, hi, lo, hi, ...]`."""
    if not ids:
        return []
    breaks = [edge for one, other in pairwise(ids) if other != one + 1 for edge in (one, other)]
    return [ids[0], *breaks, ids[-1]]


def row_of(candle: Candle) -> Row:
    """Give what the reference tells of a candle."""
    return tuple(getattr(candle, name) for name in FIELDS)


@dataclass
class PairModel:
    """The trades of one pair that count, as the log has them up to its end."""

    rules: CandleRules
    taken: dict[int, Trade] = field(default_factory=dict)
    newest_ns: int = 0
    """Of the trades that count."""

    def judge(self, trade: Trade, appended_ms: int) -> str:
        """Say what must come of the next trade in the log, and remember it."""
        if trade.ts_ns > (appended_ms + self.rules.future_tolerance_ms) * _NS:
            return FUTURE
        if trade.trade_id in self.taken:
            return DUPLICATE
        end_ms = (trade.ts_ns // _NS // MINUTE_MS + 1) * MINUTE_MS
        if self.newest_ns >= (end_ms + self.rules.lateness_ms + self.rules.retention_ms) * _NS:
            return LATE
        self.taken[trade.trade_id] = trade
        self.newest_ns = max(self.newest_ns, trade.ts_ns)
        return TAKEN


class Folded:
    """The trades of one pair that a state has folded, sorted; grows and, after a crash, is made anew."""

    def __init__(self) -> None:
        self._trades: list[tuple[int, int, Trade]] = []

    def add(self, trade: Trade) -> None:
        insort(self._trades, (trade.ts_ns, trade.trade_id, trade))

    @property
    def trades(self) -> list[Trade]:
        return [trade for _, _, trade in self._trades]

    @property
    def newest_ms(self) -> int:
        return self._trades[-1][0] // _NS if self._trades else -1

    def ids(self) -> list[int]:
        return sorted(trade_id for _, trade_id, _ in self._trades)

    def between(self, from_ms: int, to_ms: int) -> list[Trade]:
        begin, end = (bisect_left(self._trades, (at_ms * _NS,)) for at_ms in (from_ms, to_ms))
        return [trade for _, _, trade in self._trades[begin:end]]

    def last_before(self, at_ms: int) -> Trade | None:
        at = bisect_left(self._trades, (at_ms * _NS,))
        return self._trades[at - 1][2] if at else None

    def problem_of(self, candle: Candle, closed_minutes: set[int]) -> str:
        """Compare a candle with the trades in those of its minutes that are closed; empty where it is right."""
        step_ms = TIMEFRAME_MS[candle.timeframe]  # type: ignore[index]  # a record's timeframe is one of the six
        inside = [
            trade
            for trade in self.between(candle.open_ms, candle.open_ms + step_ms)
            if trade.ts_ns // _NS // MINUTE_MS * MINUTE_MS in closed_minutes
        ]
        got = (*row_of(candle), candle.first_trade_id, candle.last_trade_id)
        if inside:
            ids = [trade.trade_id for trade in inside]
            expected: Row = (*reference_candles(inside, candle.timeframe)[candle.open_ms], min(ids), max(ids))
        else:
            last = self.last_before(candle.open_ms)
            assert last is not None, f"a candle before the first trade: {candle}"
            price = last.price
            expected = (price, price, price, price, 0.0, 0.0, 0.0, 0, price, True, -1, -1)
        return "" if got == expected else f"{candle.pair} {candle.timeframe} {candle.open_ms}: {got}, not {expected}"
