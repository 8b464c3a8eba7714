"""One pair's candle fold with its table, and the batch that it is measured against."""

from __future__ import annotations

from collections.abc import Iterable

from tables.candles import CandleRules, PairCandles
from tables.candles.state import state_key
from tables.records import Candle, Side, Trade
from tests.support.reference import differences

__all__ = [
    "FOREVER_NS",
    "NOTHING",
    "PAIR",
    "RULES",
    "SIDES",
    "START_NS",
    "Candles",
    "Table",
    "check",
    "collect",
    "finish",
    "trade",
]

PAIR = "BTC/USD"
NOTHING: dict[bytes, bytes] = {}
START_NS = 1_526_187_600_000 * 1_000_000
FOREVER_NS = 1 << 62
Candles = dict[tuple[str, int], Candle]
SIDES: tuple[Side, ...] = ("buy", "sell")
RULES = CandleRules(lateness_ms=2_000, retention_ms=900_000)


class Table(dict[bytes, bytes]):
    """A table that survives a crash of the fold."""

    def write(self, row: bytes | None) -> None:
        if row is not None:
            self[state_key(PAIR)] = row


def trade(trade_id: int, at_ms: int, price: float = 100.0, qty: float = 1.0, side: Side = "buy") -> Trade:
    return Trade(PAIR, trade_id, START_NS + at_ms * 1_000_000, price, qty, side)


def finish(fold: PairCandles, candles: Candles, table: Table) -> None:
    """End of recorded history: the idle timer closes what is open."""
    collect(fold, candles, table, now_ms=START_NS // 1_000_000 + 400 * 86_400_000)


def collect(fold: PairCandles, candles: Candles, table: Table, now_ms: int | None = None) -> None:
    output = fold.settle(now_ms)
    for candle in output.candles:
        known = candles.get((candle.timeframe, candle.open_ms))
        assert known is None or candle.revision >= known.revision
        candles[candle.timeframe, candle.open_ms] = candle
    table.write(output.row)


def check(trades: Iterable[Trade], candles: Candles) -> None:
    assert differences(trades, candles) == {"missing": [], "extra": [], "different": []}
