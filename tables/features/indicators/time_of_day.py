"""Time of the day."""

from __future__ import annotations

from math import cos, pi, sin
from typing import Final

import numpy as np

from tables.features.arrays import Array, Columns
from tables.features.indicator import Indicator
from tables.features.window import Window
from tables.records import DAY_MS

__all__ = ["TimeOfDay"]

_TURN: Final = 2 * pi / DAY_MS


class TimeOfDay(Indicator):
    """The bar's open in UTC as an angle of the day: midnight is (0, 1)."""

    place = 160
    names = ("tod_sin", "tod_cos")
    about = ("Time of day, sine", "Time of day, cosine")
    warm_up = (0, 0)

    def update(self, window: Window) -> tuple[float, float]:
        angle = window.open_ms % DAY_MS * _TURN
        return sin(angle), cos(angle)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        angle = bars.open_ms % DAY_MS * _TURN
        return [np.sin(angle), np.cos(angle)]
