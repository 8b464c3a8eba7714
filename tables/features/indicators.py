"""O(1) recurrences, bit-identical to tulipy 0.4.0 (Tulip Indicators 0.8.4) over the whole history.

Every class keeps its state in `__slots__` of plain numbers, so that it can be stored and restored. `update` gives
None until the indicator is warm. Conventions were measured against the library, see docs/adr/0008-features.md.
"""

from __future__ import annotations

from math import nan, sqrt
from typing import Any

__all__ = ["Adx", "Atr", "Ema", "Indicator", "Macd", "RootEma", "Rsi"]


class Indicator:
    """Base: state in and out. `_fixed` names the slots that follow from the period."""

    __slots__ = ()
    _state: tuple[str, ...] = ()

    def dump(self) -> list[Any]:
        """Give the state as plain numbers."""
        return [getattr(self, name) for name in self._state]

    def restore(self, values: list[Any]) -> None:
        """Take back what `dump` gave."""
        for name, value in zip(self._state, values, strict=True):
            setattr(self, name, value)


class Ema(Indicator):
    """Exponential average: k = 2/(p+1), seeded with the first input, output from bar 0."""

    __slots__ = ("k", "value")
    _state = ("value",)

    def __init__(self, period: int) -> None:
        self.k = 2 / (period + 1.0)
        self.value: float | None = None

    def update(self, x: float) -> float:
        value = self.value
        self.value = value = x if value is None else (x - value) * self.k + value
        return value


class RootEma(Ema):
    """Square root of the EMA of squared returns: EWMA volatility a bar."""

    __slots__ = ()

    def update(self, x: float) -> float:
        return sqrt(super().update(x))


class Rsi(Indicator):
    """Wilder's RSI, 0..100: seeded with the mean of the first p moves, first output at bar p; flat series: NaN."""

    __slots__ = ("count", "down", "k", "period", "previous", "up")
    _state = ("count", "down", "previous", "up")

    def __init__(self, period: int) -> None:
        self.period, self.k = period, 1.0 / period
        self.up = self.down = 0.0
        self.count = 0
        self.previous: float | None = None

    def update(self, close: float) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        up = close - previous if close > previous else 0.0
        down = previous - close if close < previous else 0.0
        self.count += 1
        if self.count <= self.period:
            self.up += up
            self.down += down
            if self.count < self.period:
                return None
            self.up /= self.period
            self.down /= self.period
        else:
            self.up = (up - self.up) * self.k + self.up
            self.down = (down - self.down) * self.k + self.down
        total = self.up + self.down
        return 100.0 * (self.up / total) if total else nan


class Macd(Indicator):
    """EMA(p) - EMA(2p), its EMA(p) as signal, and their difference; all from bar 2p-1 on.

    Both averages start at the first close; the signal starts at the first MACD that is shown.
    (12, 26) would use k = .15 and .075 in the library; that pair is not of the form (p, 2p).
    """

    __slots__ = ("count", "fast", "k_fast", "k_signal", "k_slow", "long", "signal", "slow")
    _state = ("count", "fast", "signal", "slow")

    def __init__(self, period: int) -> None:
        self.long = 2 * period
        self.k_fast, self.k_slow = 2 / (period + 1.0), 2 / (self.long + 1.0)
        self.k_signal = 2 / (period + 1.0)
        self.count = 0
        self.fast = self.slow = self.signal = 0.0

    def update(self, close: float) -> tuple[float, float, float] | None:
        if self.count == 0:
            self.fast = self.slow = close
        else:
            self.fast = (close - self.fast) * self.k_fast + self.fast
            self.slow = (close - self.slow) * self.k_slow + self.slow
        self.count += 1
        if self.count < self.long:
            return None
        macd = self.fast - self.slow
        if self.count == self.long:
            self.signal = macd
        self.signal = (macd - self.signal) * self.k_signal + self.signal
        return macd, self.signal, macd - self.signal


def true_range(high: float, low: float, previous_close: float) -> float:
    """Largest of high - low and the distances of both to the previous close."""
    span = high - low
    up = abs(high - previous_close)
    down = abs(low - previous_close)
    span = max(up, span)
    return max(down, span)


class Atr(Indicator):
    """Wilder's average true range in price units: seed = mean of the first p, first output at bar p-1."""

    __slots__ = ("count", "k", "period", "previous_close", "value")
    _state = ("count", "previous_close", "value")

    def __init__(self, period: int) -> None:
        self.period, self.k = period, 1.0 / period
        self.count = 0
        self.value = 0.0
        self.previous_close: float | None = None

    def update(self, high: float, low: float, close: float) -> float | None:
        previous, self.previous_close = self.previous_close, close
        span = high - low if previous is None else true_range(high, low, previous)
        self.count += 1
        if self.count <= self.period:
            self.value += span
            if self.count < self.period:
                return None
            self.value /= self.period
        else:
            self.value = (span - self.value) * self.k + self.value
        return self.value


class Adx(Indicator):
    """Wilder's ADX, 0..100.

    Sums of true range and directional moves over bars 1..p-1, then S = S*(p-1)/p + x; ADX starts as the mean of
    the first p DX values, at bar 2p-2. Without any move: NaN.
    """

    __slots__ = ("count", "dx_sum", "inverse", "keep", "minus", "period", "plus", "previous", "span")
    _state = ("count", "dx_sum", "minus", "plus", "previous", "span")

    def __init__(self, period: int) -> None:
        self.period = period
        self.keep, self.inverse = (period - 1.0) / period, 1.0 / period
        self.count = -1
        self.span = self.plus = self.minus = self.dx_sum = 0.0
        self.previous: list[float] | None = None

    def update(self, high: float, low: float, close: float) -> float | None:
        previous, self.previous = self.previous, [high, low, close]
        self.count += 1
        if previous is None:
            return None
        plus, minus = _directional_moves(high - previous[0], previous[1] - low)
        span = true_range(high, low, previous[2])
        if self.count < self.period:
            self.span += span
            self.plus += plus
            self.minus += minus
            if self.count < self.period - 1:
                return None
        else:
            self.span = self.span * self.keep + span
            self.plus = self.plus * self.keep + plus
            self.minus = self.minus * self.keep + minus
        return self._average(self._dx())

    def _dx(self) -> float:
        if not self.span:
            return nan
        plus, minus = self.plus / self.span, self.minus / self.span
        total = plus + minus
        return abs(plus - minus) / total * 100 if total else nan

    def _average(self, dx: float) -> float | None:
        seen = self.count - self.period
        if seen <= self.period - 2:
            self.dx_sum += dx
            return self.dx_sum * self.inverse if seen == self.period - 2 else None
        self.dx_sum = self.dx_sum * self.keep + dx
        return self.dx_sum * self.inverse


def _directional_moves(up: float, down: float) -> tuple[float, float]:
    plus = 0.0 if up < 0 or up < down else up
    minus = 0.0 if down < 0 or down < up else down
    return plus, minus
