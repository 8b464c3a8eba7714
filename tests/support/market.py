"""Closed candles of an invented market, and the same bars as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

from tables.records import TIMEFRAME_MS, Candle

__all__ = ["SCALES", "columns", "market", "steady", "tick"]

SCALES = (60_000.1, 1.0002, 1.2e-5)
"""Prices of a Bitcoin, of a stable coin and of a coin of many zeros."""
PAIR = "BTC/USD"


def tick(scale: float) -> int:
    """Give the decimals of a price: five digits of it, as exchanges have them."""
    return max(0, 4 - math.floor(math.log10(scale)))


@lru_cache(maxsize=128)
def market(bars: int, scale: float, seed: int = 7, timeframe: str = "1m", silences: int = 1) -> tuple[Candle, ...]:
    """Draw bars in an exchange's decimals: some do not move, some have no volume, and some stretches are silent.

    A silent bar is what the candle fold makes of it: flat at the close before, without volume.
    """
    random = np.random.default_rng(seed)
    step_ms = TIMEFRAME_MS[timeframe]  # type: ignore[index]  # tests name one of the six
    decimals = tick(scale)
    silent = np.zeros(bars, dtype=bool)
    for _ in range(silences):
        start = int(random.integers(bars))
        silent[start : start + int(random.integers(1, 90))] = True
    silent[:2] = False
    candles: list[Candle] = []
    close = scale
    for at in range(bars):
        opened = close
        moved = opened * math.exp(float(random.normal(0, 1e-3))) if random.random() > 0.2 else opened
        close = opened if silent[at] else max(round(moved, decimals), 10.0**-decimals)
        reach = (np.abs(random.normal(0, 5e-4, 2)) * (random.random(2) > 0.3) * ~silent[at]).tolist()
        high = max(opened, close, round(close * (1 + reach[0]), decimals))
        low = min(opened, close, max(round(close * (1 - reach[1]), decimals), 10.0**-decimals))
        volume = 0.0 if silent[at] or random.random() < 0.1 else round(float(random.exponential(3.0)), 8)
        quote = volume * (high + low) / 2
        candles.append(
            Candle(
                pair=PAIR,
                timeframe=timeframe,
                open_ms=1_700_006_400_000 // step_ms * step_ms + at * step_ms,
                open=opened,
                high=high,
                low=low,
                close=close,
                volume=volume,
                quote_volume=quote,
                buy_volume=round(volume * float(random.random()), 8),
                trades=int(random.integers(1, 3_000)) if volume else 0,
                vwap=quote / volume if volume else close,
                first_trade_id=at,
                last_trade_id=at,
                closed=True,
                revision=0,
                synthetic=not volume,
                closed_by="watermark",
                source="sim",
            )
        )
    return tuple(candles)


def steady(bars: int, price: float, volume: float) -> list[Candle]:
    """Give bars of one price; volume 0 makes them silent."""
    first = market(2, price)[0]
    return [
        msgspec.structs.replace(
            first,
            open_ms=first.open_ms + at * 60_000,
            high=price,
            low=price,
            close=price,
            volume=volume,
            quote_volume=volume * price,
            buy_volume=volume / 2,
            trades=int(volume > 0),
            vwap=price,
            synthetic=not volume,
        )
        for at in range(bars)
    ]


def columns(candles: Sequence[Candle]) -> dict[str, npt.NDArray[np.generic]]:
    """Give the columns that the bulk path takes."""
    names = ("open_ms", "open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades")
    return {name: np.array([getattr(candle, name) for candle in candles]) for name in names}
