"""Wilder's average true range."""

from __future__ import annotations

from typing import ClassVar, Final

import tulipy

from tables.features.arrays import Array, Columns, tulip
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["Atr"]

_PERIOD: Final = 14


class Atr(Indicator):
    """The first range is high - low; mean of the first p ranges at bar p-1, then Wilder's average."""

    place = 70
    names = (f"atr_{_PERIOD}",)
    about = (f"Average true range, period {_PERIOD}, quote currency",)
    warm_up = (_PERIOD - 1,)
    unit = "price"
    exact = True
    inputs: ClassVar = {"high": 1, "low": 1, "close": 2}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,)

    def update(self, window: Window) -> tuple[float, ...]:
        value, span, bars = self.state[0], window.true_range, window.bars
        if bars > _PERIOD:
            value = (span - value) * (1.0 / _PERIOD) + value
        else:
            value += span
            if bars == _PERIOD:
                value /= _PERIOD
        self.state = (value,)
        return self.state

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return tulip(bars.rows, 1, tulipy.atr, bars["high"], bars["low"], bars["close"], _PERIOD)
