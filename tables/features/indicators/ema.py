"""Exponential moving average of the close."""

from __future__ import annotations

from typing import ClassVar

import tulipy

from tables.features.arrays import Array, Columns, tulip
from tables.features.indicator import PERIODS, Indicator
from tables.features.window import Window

__all__ = ["Ema"]

_K7, _K14, _K21, _K60 = (2 / (period + 1.0) for period in PERIODS)


class Ema(Indicator):
    """k = 2/(p+1), seeded with the first close, output from bar 0."""

    place = 20
    names = tuple(f"ema_{period}" for period in PERIODS)
    about = tuple(f"Exponential mean of the close, period {period}, quote currency" for period in PERIODS)
    warm_up = (0,) * len(PERIODS)
    unit = "price"
    exact = True
    inputs: ClassVar = {"close": 1}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,) * len(PERIODS)

    def update(self, window: Window) -> tuple[float, ...]:
        close = window.close
        if window.bars == 1:
            self.state = (close,) * len(PERIODS)
            return self.state
        # Written out, here and in other hot places: a loop over the periods takes twice as long.
        e7, e14, e21, e60 = self.state
        self.state = (
            (close - e7) * _K7 + e7,
            (close - e14) * _K14 + e14,
            (close - e21) * _K21 + e21,
            (close - e60) * _K60 + e60,
        )
        return self.state

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [tulip(bars.rows, 1, tulipy.ema, bars["close"], period)[0] for period in PERIODS]
