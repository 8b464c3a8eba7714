"""EWMA volatility."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar, Final

import numpy as np
import tulipy

from tables.features.arrays import Array, Columns, left_pad, tulip
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["EwmaVolatility"]

_PERIODS: Final = (15, 60)
_K15, _K60 = (2 / (period + 1.0) for period in _PERIODS)


class EwmaVolatility(Indicator):
    """Root of the EMA of squared log returns, a bar; seeded with the first return."""

    place = 110
    names = tuple(f"ewma_vol_{period}" for period in _PERIODS)
    about = tuple(f"Exponentially weighted volatility, {period} bars (log return)" for period in _PERIODS)
    warm_up = (1,) * len(_PERIODS)
    inputs: ClassVar = {"square": 1}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,) * len(_PERIODS)

    def update(self, window: Window) -> tuple[float, ...]:
        square, returns = window.square, window.bars - 1
        if returns <= 1:
            # Without a return yet the square is 0.
            self.state = (square,) * len(_PERIODS)
            return (sqrt(square),) * len(_PERIODS)
        v15, v60 = self.state
        v15 = (square - v15) * _K15 + v15
        v60 = (square - v60) * _K60 + v60
        self.state = (v15, v60)
        return (sqrt(v15), sqrt(v60))

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        squares = np.ascontiguousarray(bars["square"][1:])
        rows = len(squares)
        return [left_pad(np.sqrt(tulip(rows, 1, tulipy.ema, squares, period)[0]), bars.rows) for period in _PERIODS]
