"""Wilder's relative strength index."""

from __future__ import annotations

from math import nan
from typing import ClassVar, Final

import tulipy

from tables.features.arrays import Array, Columns, tulip
from tables.features.indicator import PERIODS, Indicator
from tables.features.window import Window

__all__ = ["Rsi"]

_K: Final = tuple(1.0 / period for period in PERIODS)
_K7, _K14, _K21, _K60 = _K


class Rsi(Indicator):
    """0..100. Means of the up and down moves, seeded with those of bars 1..p, then Wilder's; from bar p."""

    place = 30
    names = tuple(f"rsi_{period}" for period in PERIODS)
    about = tuple(f"Relative strength index, period {period}, 0 to 100" for period in PERIODS)
    warm_up = PERIODS
    flat_is_none = True
    exact = True
    inputs: ClassVar = {"close": 2}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,) * 2 * len(PERIODS)
        """Means of the up moves, and of the down moves."""

    def update(self, window: Window) -> tuple[float, ...]:
        move, moves = window.move, window.bars - 1
        up = move if move > 0 else 0.0
        down = -move if move < 0 else 0.0
        u7, u14, u21, u60, d7, d14, d21, d60 = self.state
        if moves > PERIODS[-1]:
            u7, d7 = (up - u7) * _K7 + u7, (down - d7) * _K7 + d7
            u14, d14 = (up - u14) * _K14 + u14, (down - d14) * _K14 + d14
            u21, d21 = (up - u21) * _K21 + u21, (down - d21) * _K21 + d21
            u60, d60 = (up - u60) * _K60 + u60, (down - d60) * _K60 + d60
        else:
            u7, u14, u21, u60 = _seed((u7, u14, u21, u60), up, moves)
            d7, d14, d21, d60 = _seed((d7, d14, d21, d60), down, moves)
        self.state = (u7, u14, u21, u60, d7, d14, d21, d60)
        return (
            100.0 * (u7 / total) if (total := u7 + d7) else nan,
            100.0 * (u14 / total) if (total := u14 + d14) else nan,
            100.0 * (u21 / total) if (total := u21 + d21) else nan,
            100.0 * (u60 / total) if (total := u60 + d60) else nan,
        )

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [tulip(bars.rows, 1, tulipy.rsi, bars["close"], period)[0] for period in PERIODS]


def _seed(means: tuple[float, ...], move: float, moves: int) -> list[float]:
    """Sum the first p moves, make the sum a mean at the p-th, average from there on."""
    return [
        mean + move if moves < period else (mean + move) / period if moves == period else (move - mean) * k + mean
        for mean, period, k in zip(means, PERIODS, _K, strict=True)
    ]
