"""Imbalance of takers."""

from __future__ import annotations

from typing import ClassVar, Final

from tables.features.arrays import Array, Columns, ratio
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["TakerImbalance"]

_SPANS: Final = (1, 5, 15)


class TakerImbalance(Indicator):
    """What takers bought less what they sold, as a share of the volume, in [-1, 1]; 0 where nothing traded."""

    place = 120
    names = tuple(f"taker_imbalance_{span}" for span in _SPANS)
    about = tuple(f"Taker buys minus sells over volume, {span} bars, -1 to 1" for span in _SPANS)
    warm_up = tuple(span - 1 for span in _SPANS)
    sums: ClassVar = [(column, span) for span in _SPANS for column in ("buy_volume", "volume")]

    def update(self, window: Window) -> tuple[float, ...]:
        buy1, volume1, buy5, volume5, buy15, volume15 = self.pick(window.sums)
        return (
            (2 * buy1 - volume1) / volume1 if volume1 else 0.0,
            (2 * buy5 - volume5) / volume5 if volume5 else 0.0,
            (2 * buy15 - volume15) / volume15 if volume15 else 0.0,
        )

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        bought = (2 * bars.total("buy_volume", span) - bars.total("volume", span) for span in _SPANS)
        return [ratio(more, bars.total("volume", span)) for more, span in zip(bought, _SPANS, strict=True)]
