"""Every candle of every timeframe once more: a plain batch over the recorded trades, sharing no code with the fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple

from app.recorded import Row

__all__ = ["STEPS_MS", "Bar", "Comparison", "batch_bars", "compare"]

MINUTE_MS: Final = 60_000
STEPS_MS: Final = {
    "1m": MINUTE_MS,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
GAP_MAX_MS: Final = 7 * 86_400_000
"""Of a silence, this much is filled with flat minutes (ms); the fold's default."""
EXACT_DIGITS: Final = 200
EXAMPLES: Final = 10


class Bar(NamedTuple):
    """What must be equal, to the last bit."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    buy_volume: float
    trades: int
    vwap: float
    first_trade_id: int
    last_trade_id: int
    synthetic: bool


Bars = dict[tuple[str, int], Bar]
"""By timeframe and open_ms."""


@dataclass
class Comparison:
    """How two sets of candles differ."""

    compared: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def mismatches(self) -> int:
        return self.missing + self.extra + self.different

    def add(self, other: Comparison) -> None:
        """Take another pair's differences in."""
        self.compared += other.compared
        self.missing += other.missing
        self.extra += other.extra
        self.different += other.different
        self.examples = (self.examples + other.examples)[:EXAMPLES]


def batch_bars(rows: Iterable[Row], gap_max_ms: int = GAP_MAX_MS) -> Bars:
    """Compute all bars of one pair between its first and its last trade.

    Parameters
    ----------
    gap_max_ms
        TICKCAST_SYNTHETIC_GAP_MAX_MS of the worker that is judged.
    """
    trades = sorted(rows, key=lambda row: (row.ts_ns, row.trade_id))
    bars: Bars = {}
    with localcontext() as context:
        context.prec = EXACT_DIGITS  # sums of products of decimals: exact
        for timeframe, step_ms in STEPS_MS.items():
            groups: dict[int, list[Row]] = {}
            for row in trades:
                at_ms = row.ts_ns // 1_000_000
                groups.setdefault(at_ms - at_ms % step_ms, []).append(row)
            bars.update({(timeframe, open_ms): _bar(group) for open_ms, group in groups.items()})
    _fill(bars, gap_max_ms)
    return bars


def _bar(group: list[Row]) -> Bar:
    prices = [row.price for row in group]
    ids = [row.trade_id for row in group]
    volume = sum((row.qty for row in group), Decimal(0))
    quote = sum((row.price * row.qty for row in group), Decimal(0))
    buy = sum((row.qty for row in group if row.side == "buy"), Decimal(0))
    return Bar(
        open=float(prices[0]),
        high=float(max(prices)),
        low=float(min(prices)),
        close=float(prices[-1]),
        volume=float(volume),
        quote_volume=float(quote),
        buy_volume=float(buy),
        trades=len(group),
        vwap=float(Fraction(quote) / Fraction(volume)),
        first_trade_id=min(ids),
        last_trade_id=max(ids),
        synthetic=False,
    )


def _fill(bars: Bars, gap_max_ms: int) -> None:
    """Add flat bars for silent minutes, and for larger windows that hold nothing but such minutes."""
    traded = sorted(open_ms for timeframe, open_ms in bars if timeframe == "1m")
    for before_ms, after_ms in pairwise(traded):
        flat = _flat(bars["1m", before_ms].close)
        for open_ms in range(before_ms + MINUTE_MS, min(after_ms, before_ms + gap_max_ms + 1), MINUTE_MS):
            bars["1m", open_ms] = flat
            for timeframe, step_ms in STEPS_MS.items():
                bars.setdefault((timeframe, open_ms - open_ms % step_ms), flat)


def _flat(close: float) -> Bar:
    return Bar(close, close, close, close, 0.0, 0.0, 0.0, 0, close, -1, -1, synthetic=True)


def compare(pair: str, expected: Mapping[tuple[str, int], Bar], found: Mapping[tuple[str, int], Bar]) -> Comparison:
    """Compare what the stack stored with the batch; examples name the first differences."""
    result = Comparison(compared=len(expected))
    for timeframe, open_ms in sorted(expected.keys() | found.keys(), key=lambda key: (key[1], STEPS_MS[key[0]])):
        ours, theirs = expected.get((timeframe, open_ms)), found.get((timeframe, open_ms))
        if ours == theirs:
            continue
        if theirs is None:
            result.missing += 1
            what = "missing"
        elif ours is None:
            result.extra += 1
            what = "extra"
        else:
            result.different += 1
            what = ", ".join(
                f"{name} {stored!r} instead of {right!r}"
                for name, stored, right in zip(Bar._fields, theirs, ours, strict=True)
                if stored != right
            )
        if len(result.examples) < EXAMPLES:
            result.examples.append(f"{pair} {timeframe} {open_ms}: {what}")
    return result
