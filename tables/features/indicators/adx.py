"""Wilder's average directional index."""

from __future__ import annotations

from math import nan
from typing import ClassVar, Final

import tulipy

from tables.features.arrays import Array, Columns, tulip
from tables.features.indicator import PERIODS, Indicator
from tables.features.window import Window

__all__ = ["Adx"]

_CONSTANTS: Final = tuple((period, (period - 1.0) / period, 1.0 / period) for period in PERIODS)
(_, _KEEP7, _1_7), (_, _KEEP14, _1_14), (_, _KEEP21, _1_21), (_, _KEEP60, _1_60) = _CONSTANTS


class Adx(Indicator):
    """0..100. Sums of true range and directional moves over bars 1..p-1, then S = S*(p-1)/p + x.

    The average starts as the mean of the first p DX values, at bar 2p-2.
    """

    place = 40
    names = tuple(f"adx_{period}" for period in PERIODS)
    about = tuple(f"Average directional index, period {period}, 0 to 100" for period in PERIODS)
    warm_up = tuple(2 * period - 2 for period in PERIODS)
    flat_is_none = True
    exact = True
    inputs: ClassVar = {"high": 2, "low": 2, "close": 2}

    def __init__(self) -> None:
        super().__init__()
        self.state = (0.0,) * 4 * len(PERIODS)
        """For each period: true range, plus moves, minus moves, sum of DX."""

    def update(self, window: Window) -> tuple[float, ...]:
        moves = window.bars - 1
        if not moves:
            return (nan,) * len(PERIODS)
        up = window.high - window.last_high
        down = window.last_low - window.low
        x_plus = 0.0 if up < 0 or up < down else up
        x_minus = 0.0 if down < 0 or down < up else down
        x_span = window.true_range
        if moves <= 2 * PERIODS[-1]:
            return self._any(moves, x_span, x_plus, x_minus)
        s7, p7, m7, a7, s14, p14, m14, a14, s21, p21, m21, a21, s60, p60, m60, a60 = self.state
        s7, p7, m7 = s7 * _KEEP7 + x_span, p7 * _KEEP7 + x_plus, m7 * _KEEP7 + x_minus
        s14, p14, m14 = s14 * _KEEP14 + x_span, p14 * _KEEP14 + x_plus, m14 * _KEEP14 + x_minus
        s21, p21, m21 = s21 * _KEEP21 + x_span, p21 * _KEEP21 + x_plus, m21 * _KEEP21 + x_minus
        s60, p60, m60 = s60 * _KEEP60 + x_span, p60 * _KEEP60 + x_plus, m60 * _KEEP60 + x_minus
        try:
            a7 = a7 * _KEEP7 + abs((d := p7 / s7) - (e := m7 / s7)) / (d + e) * 100
            a14 = a14 * _KEEP14 + abs((d := p14 / s14) - (e := m14 / s14)) / (d + e) * 100
            a21 = a21 * _KEEP21 + abs((d := p21 / s21) - (e := m21 / s21)) / (d + e) * 100
            a60 = a60 * _KEEP60 + abs((d := p60 / s60) - (e := m60 / s60)) / (d + e) * 100
        except ZeroDivisionError:
            return self._any(moves, x_span, x_plus, x_minus)
        self.state = (s7, p7, m7, a7, s14, p14, m14, a14, s21, p21, m21, a21, s60, p60, m60, a60)
        return (a7 * _1_7, a14 * _1_14, a21 * _1_21, a60 * _1_60)

    def _any(self, moves: int, x_span: float, x_plus: float, x_minus: float) -> tuple[float, ...]:
        """Advance when a period is not warm, or nothing has moved."""
        old = iter(self.state)
        state: list[float] = []
        values: list[float] = []
        for (period, keep, inverse), s, p, m, total in zip(_CONSTANTS, old, old, old, old, strict=True):
            decay = keep if moves >= period else 1.0
            span, plus, minus = s * decay + x_span, p * decay + x_plus, m * decay + x_minus
            average = total
            if moves >= period - 1:
                average = total * (keep if moves > 2 * period - 2 else 1.0) + _dx(span, plus, minus)
            state += (span, plus, minus, average)
            values.append(average * inverse)
        self.state = tuple(state)
        return tuple(values)

    @classmethod
    def bulk(cls, bars: Columns) -> list[Array]:
        high, low, close = bars["high"], bars["low"], bars["close"]
        return [tulip(bars.rows, 1, tulipy.adx, high, low, close, period)[0] for period in PERIODS]


def _dx(span: float, plus: float, minus: float) -> float:
    if span:
        plus, minus = plus / span, minus / span
        if total := plus + minus:
            return abs(plus - minus) / total * 100
    return nan
