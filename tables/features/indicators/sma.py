"""Simple moving average of the close."""

from __future__ import annotations

from typing import ClassVar

from tables.features.arrays import Array, Columns
from tables.features.indicator import PERIODS, Indicator
from tables.features.window import Window

__all__ = ["Sma"]


class Sma(Indicator):
    """Mean of the last p closes, from the window itself: the library's running sums lose digits."""

    place = 10
    names = tuple(f"sma_{period}" for period in PERIODS)
    about = tuple(f"Simple mean of the close over {period} bars, quote currency" for period in PERIODS)
    warm_up = tuple(period - 1 for period in PERIODS)
    unit = "price"
    sums: ClassVar = [("close", period) for period in PERIODS]

    def update(self, window: Window) -> tuple[float, ...]:
        s7, s14, s21, s60 = self.pick(window.sums)
        return (s7 / 7, s14 / 14, s21 / 21, s60 / 60)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [bars.total("close", period) / period for period in PERIODS]
