"""Log returns."""

from __future__ import annotations

from math import log
from typing import ClassVar, Final

import numpy as np

from tables.features.arrays import Array, Columns, left_pad
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["LogReturn"]

_SPANS: Final = (1, 5, 15, 60)


class LogReturn(Indicator):
    """Logarithm of the newest close over the one so many bars before."""

    place = 90
    names = tuple(f"log_return_{span}" for span in _SPANS)
    about = tuple(f"Log return over {span} bars" for span in _SPANS)
    warm_up = _SPANS
    inputs: ClassVar = {"close": _SPANS[-1] + 1}

    def update(self, window: Window) -> tuple[float, ...]:
        close, closes = window.close, window.closes
        return (window.change, log(close / closes[-6]), log(close / closes[-16]), log(close / closes[-61]))

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        close = bars["close"]
        return [left_pad(np.log(close[span:] / close[:-span]), bars.rows) for span in _SPANS]
