"""Trades a second."""

from __future__ import annotations

from typing import ClassVar, Final

from tables.features.arrays import Array, Columns
from tables.features.indicator import Indicator
from tables.features.window import Window

__all__ = ["TradeRate"]

_SPANS: Final = (1, 60)


class TradeRate(Indicator):
    """Number of trades of the last bars over their length."""

    place = 140
    names = tuple(f"trade_rate_{span}" for span in _SPANS)
    about = tuple(f"Trades per second over {span} bars" for span in _SPANS)
    warm_up = tuple(span - 1 for span in _SPANS)
    sums: ClassVar = [("trades", span) for span in _SPANS]

    def update(self, window: Window) -> tuple[float, ...]:
        trades1, trades60 = self.pick(window.sums)
        return (trades1 / window.step_s, trades60 / (60 * window.step_s))

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        return [bars.total("trades", span) / (span * bars.step_s) for span in _SPANS]
