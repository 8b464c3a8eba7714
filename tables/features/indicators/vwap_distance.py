"""Distance of the close to the volume-weighted price."""

from __future__ import annotations

from math import log
from typing import ClassVar, Final

import numpy as np

from tables.features.arrays import Array, Columns
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["VwapDistance"]

_SPANS: Final = (1, 60)


class VwapDistance(Indicator):
    """Logarithm of the close over the volume-weighted mean price of the last bars; 0 where nothing traded."""

    place = 130
    names = tuple(f"vwap_distance_{span}" for span in _SPANS)
    about = tuple(f"Close against the VWAP of {span} bars (log)" for span in _SPANS)
    warm_up = tuple(span - 1 for span in _SPANS)
    sums: ClassVar = [(column, span) for span in _SPANS for column in ("quote_volume", "volume")]

    def update(self, window: Window) -> tuple[float, ...]:
        close = window.close
        quote1, volume1, quote60, volume60 = self.pick(window.sums)
        return (
            log(close * volume1 / quote1) if volume1 else 0.0,
            log(close * volume60 / quote60) if volume60 else 0.0,
        )

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [
                np.log(bars["close"] * bars.total("volume", span) / bars.total("quote_volume", span)) for span in _SPANS
            ]
        return [
            np.where(bars.total("volume", span) == 0, 0.0, distance)
            for distance, span in zip(found, _SPANS, strict=True)
        ]
