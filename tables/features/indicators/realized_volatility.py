"""Realised volatility."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar, Final

import numpy as np

from tables.features.arrays import Array, Columns
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["RealizedVolatility"]

_SPANS: Final = (5, 15, 60)


class RealizedVolatility(Indicator):
    """Root of the mean of the last squared log returns, a bar."""

    place = 100
    names = tuple(f"rv_{span}" for span in _SPANS)
    about = tuple(f"Realised volatility over {span} bars (log return)" for span in _SPANS)
    warm_up = _SPANS
    sums: ClassVar = [("square", span) for span in _SPANS]

    def update(self, window: Window) -> tuple[float, ...]:
        s5, s15, s60 = self.pick(window.sums)
        return (sqrt(s5 / 5), sqrt(s15 / 15), sqrt(s60 / 60))

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [np.sqrt(bars.total("square", span) / span) for span in _SPANS]
