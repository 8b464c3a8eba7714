"""Volatility over hours, days and weeks."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar, Final

import numpy as np
import tulipy

from tables.features.arrays import Array, Columns, left_pad
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["LongVolatility"]

_PERIODS: Final = (360, 1_440, 7_200, 28_800)
_WEIGHTS: Final = tuple(2 / (period + 1.0) for period in _PERIODS)


class LongVolatility(Indicator):
    """Root of the mean of squared log returns, exponentially weighted once there are as many as the weight stands for.

    The newest return weighs max(2 / (period + 1), 1 / returns so far): a plain mean first. Seeded with one return, as
    an EMA is, four weeks would remember that one return for weeks.
    """

    place = 170
    names = tuple(f"long_vol_{period}" for period in _PERIODS)
    about = tuple(f"Volatility over about {period} bars (log return a bar)" for period in _PERIODS)
    warm_up = (1,) * len(_PERIODS)
    inputs: ClassVar = {"square": 1}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,) * len(_PERIODS)

    def update(self, window: Window) -> tuple[float, ...]:
        square, least = window.square, 1.0 / max(1, window.bars - 1)
        a, b, c, d = self.state
        ka, kb, kc, kd = _WEIGHTS
        a += (square - a) * (max(least, ka))
        b += (square - b) * (max(least, kb))
        c += (square - c) * (max(least, kc))
        d += (square - d) * (max(least, kd))
        self.state = (a, b, c, d)
        return (sqrt(a), sqrt(b), sqrt(c), sqrt(d))

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        squares = np.ascontiguousarray(bars["square"][1:])
        return [left_pad(np.sqrt(_mean(squares, period)), bars.rows) for period in _PERIODS]


def _mean(squares: Array, period: int) -> Array:
    """Give the plain mean so far, then the exponential one that starts from it."""
    plain = (period + 1) // 2
    means = np.cumsum(squares[:plain]) / np.arange(1, len(squares[:plain]) + 1)
    if len(squares) <= plain:
        return np.asarray(means, dtype=np.float64)
    return np.concatenate((means[:-1], tulipy.ema(np.append(means[-1], squares[plain:]), period)))
