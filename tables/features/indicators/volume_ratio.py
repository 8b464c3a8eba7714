"""Volume against its mean."""

from __future__ import annotations

from typing import ClassVar, Final

from tables.features.arrays import Array, Columns, ratio
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["VolumeRatio"]

_BARS: Final = 60


class VolumeRatio(Indicator):
    """Volume of the newest bar over the mean of the last ones, itself included; 0 where nothing traded."""

    place = 150
    names = (f"volume_ratio_{_BARS}",)
    about = (f"Volume against its mean over {_BARS} bars",)
    warm_up = (_BARS - 1,)
    sums: ClassVar = [("volume", _BARS)]

    def update(self, window: Window) -> tuple[float]:
        (total,) = self.pick(window.sums)
        return (window.volume / (total / _BARS) if total else 0.0,)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [ratio(bars["volume"], bars.total("volume", _BARS) / _BARS)]
