"""Change of the on-balance volume."""

from __future__ import annotations

from typing import ClassVar, Final

from tables.features.arrays import Array, Columns, ratio
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["ObvChange"]

_SPANS: Final = (14, 60)


class ObvChange(Indicator):
    """Signed volume over the last bars as a share of their volume, in [-1, 1]; 0 where nothing traded.

    Never the level: that depends on where the history begins.
    """

    place = 60
    names = tuple(f"obv_change_{span}" for span in _SPANS)
    about = tuple(f"Signed volume of the last {span} bars over their volume, -1 to 1" for span in _SPANS)
    warm_up = _SPANS
    sums: ClassVar = [(column, span) for span in _SPANS for column in ("signed_volume", "volume")]

    def update(self, window: Window) -> tuple[float, ...]:
        signed14, volume14, signed60, volume60 = self.pick(window.sums)
        return (signed14 / volume14 if volume14 else 0.0, signed60 / volume60 if volume60 else 0.0)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [ratio(bars.total("signed_volume", span), bars.total("volume", span)) for span in _SPANS]
