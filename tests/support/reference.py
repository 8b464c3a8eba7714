"""The candles of a set of trades, recomputed at once in exact decimals: what every fold is measured against."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tables.records import TIMEFRAME_MS, Candle, Trade

__all__ = ["FIELDS", "differences", "reference_candles"]

FIELDS = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "vwap", "synthetic")
Row = tuple[object, ...]


def reference_candles(trades: Iterable[Trade], timeframe: str) -> dict[int, Row]:
    """Give `FIELDS` by open_ms for one pair; silent windows between trades are flat."""
    step = TIMEFRAME_MS[timeframe]  # type: ignore[index]
    windows: dict[int, list[Trade]] = {}
    ordered = sorted(trades, key=lambda one: (one.ts_ns, one.trade_id))
    for one in ordered:
        windows.setdefault(one.ts_ns // 1_000_000 // step * step, []).append(one)
    result: dict[int, Row] = {}
    price = ordered[0].price
    for open_ms in range(min(windows), max(windows) + 1, step):
        inside = windows.get(open_ms, [])
        volume = sum((Decimal(repr(one.qty)) for one in inside), Decimal())
        quote = sum((Decimal(repr(one.qty)) * Decimal(repr(one.price)) for one in inside), Decimal())
        buy = sum((Decimal(repr(one.qty)) for one in inside if one.side == "buy"), Decimal())
        prices = [one.price for one in inside] or [price]
        price = prices[-1]
        result[open_ms] = (
            prices[0],
            max(prices),
            min(prices),
            price,
            float(volume),
            float(quote),
            float(buy),
            len(inside),
            float(quote / volume) if volume else price,
            not inside,
        )
    return result


def differences(trades: Iterable[Trade], candles: dict[tuple[str, int], Candle]) -> dict[str, list[str]]:
    """Compare the candles of one pair, by (timeframe, open_ms), with the reference: missing, extra, different."""
    trades = list(trades)
    found: dict[str, list[str]] = {"missing": [], "extra": [], "different": []}
    for timeframe in TIMEFRAME_MS:
        expected = reference_candles(trades, timeframe)
        got = {open_ms: candle for (frame, open_ms), candle in candles.items() if frame == timeframe}
        found["missing"] += [f"{timeframe} {open_ms}" for open_ms in expected.keys() - got.keys()]
        found["extra"] += [f"{timeframe} {open_ms}" for open_ms in got.keys() - expected.keys()]
        for open_ms in expected.keys() & got.keys():
            row = tuple(getattr(got[open_ms], name) for name in FIELDS)
            if row != expected[open_ms]:
                found["different"].append(f"{timeframe} {open_ms}: {row} instead of {expected[open_ms]}")
    return found
