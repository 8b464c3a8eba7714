"""Moving average convergence and divergence."""

from __future__ import annotations

from typing import ClassVar, Final

import tulipy

from tables.features.arrays import Array, Columns, tulip
from tables.features.indicator import PERIODS, Indicator
from tables.features.window import Window

__all__ = ["Macd"]

_FAST7, _FAST14, _FAST21, _FAST60 = (2 / (period + 1.0) for period in PERIODS)
_SLOW7, _SLOW14, _SLOW21, _SLOW60 = (2 / (2 * period + 1.0) for period in PERIODS)
_KINDS: Final = (
    ("macd", "MACD line"),
    ("macd_signal", "MACD signal line"),
    ("macd_hist", "MACD line minus signal"),
)


class Macd(Indicator):
    """EMA(p) - EMA(2p), its EMA(p) as signal, and their difference; all from bar 2p-1 on.

    Both averages start at the first close; the signal starts at the first MACD that is shown.
    (12, 26) would use k = .15 and .075 in the library; that pair is not of the form (p, 2p).
    """

    place = 50
    names = tuple(f"{kind}_{period}" for kind, _ in _KINDS for period in PERIODS)
    about = tuple(f"{text}, family {period}, quote currency" for _, text in _KINDS for period in PERIODS)
    warm_up = tuple(2 * period - 1 for period in PERIODS) * len(_KINDS)
    unit = "price"
    exact = True
    inputs: ClassVar = {"close": 1}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,) * 3 * len(PERIODS)
        """Fast averages, slow averages, signals."""

    def update(self, window: Window) -> tuple[float, ...]:
        close, bars = window.close, window.bars
        if bars == 1:
            self.state = (close,) * 2 * len(PERIODS) + (0.0,) * len(PERIODS)
            return (0.0,) * len(self.names)
        f7, f14, f21, f60, s7, s14, s21, s60, g7, g14, g21, g60 = self.state
        f7, s7 = (close - f7) * _FAST7 + f7, (close - s7) * _SLOW7 + s7
        f14, s14 = (close - f14) * _FAST14 + f14, (close - s14) * _SLOW14 + s14
        f21, s21 = (close - f21) * _FAST21 + f21, (close - s21) * _SLOW21 + s21
        f60, s60 = (close - f60) * _FAST60 + f60, (close - s60) * _SLOW60 + s60
        m7, m14, m21, m60 = f7 - s7, f14 - s14, f21 - s21, f60 - s60
        if bars > 2 * PERIODS[-1]:
            g7, g14 = (m7 - g7) * _FAST7 + g7, (m14 - g14) * _FAST14 + g14
            g21, g60 = (m21 - g21) * _FAST21 + g21, (m60 - g60) * _FAST60 + g60
        else:
            g7 = (m7 - g7) * _FAST7 + g7 if bars > 2 * PERIODS[0] else m7
            g14 = (m14 - g14) * _FAST14 + g14 if bars > 2 * PERIODS[1] else m14
            g21 = (m21 - g21) * _FAST21 + g21 if bars > 2 * PERIODS[2] else m21
            g60 = m60
        self.state = (f7, f14, f21, f60, s7, s14, s21, s60, g7, g14, g21, g60)
        return (m7, m14, m21, m60, g7, g14, g21, g60, m7 - g7, m14 - g14, m21 - g21, m60 - g60)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        found = [tulip(bars.rows, 3, tulipy.macd, bars["close"], period, 2 * period, period) for period in PERIODS]
        return [outputs[kind] for kind in range(len(_KINDS)) for outputs in found]
