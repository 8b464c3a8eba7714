"""All features of one bar: the recurrences, and the moments of the last bars."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, log, nan, pi, sin, sqrt
from typing import Any, Final, NamedTuple

from tables.features.catalog import FEATURE_NAMES, PERIODS
from tables.features.indicators import Adx, Atr, Ema, Indicator, Macd, RootEma, Rsi
from tables.records import DAY_MS

__all__ = ["WINDOW_BARS", "Bar", "Chain"]

WINDOW_BARS: Final = 61
"""Bars that the windowed features look back over, the newest included (60 returns need 61 closes)."""

_RETURN_SPANS: Final = (1, 5, 15, 60)
_VOLATILITY_SPANS: Final = (5, 15, 60)
_IMBALANCE_SPANS: Final = (1, 5, 15)
_FLOW_SPANS: Final = (1, 60)
_OBV_SPANS: Final = (14, 60)
_BAND_BARS: Final = 20
_HOUR_BARS: Final = 60
_NO_MACD: Final = (None, None, None)


class Bar(NamedTuple):
    """One closed candle as the features see it."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    buy_volume: float
    trades: int
    revision: int
    synthetic: bool
    vwap: float
    source: str


class _Columns:
    """The last bars as columns, with what the moments need of each bar worked out once."""

    __slots__ = ("buys", "closes", "quotes", "signed", "squares", "trades", "volumes")

    def __init__(self) -> None:
        self.closes: list[float] = []
        self.squares: list[float] = []
        """Squared log returns; NaN for the very first bar."""
        self.volumes: list[float] = []
        self.signed: list[float] = []
        """Volume with the sign of the move of the close."""
        self.quotes: list[float] = []
        self.buys: list[float] = []
        self.trades: list[int] = []

    def push(self, bar: Bar) -> None:
        close, volume = bar.close, bar.volume
        before = self.closes[-1] if self.closes else nan
        self.closes.append(close)
        self.squares.append(log(close / before) ** 2 if self.squares else nan)
        self.volumes.append(volume)
        self.signed.append(volume if close > before else -volume if close < before else 0.0)
        self.quotes.append(bar.quote_volume)
        self.buys.append(bar.buy_volume)
        self.trades.append(bar.trades)
        if len(self.closes) > 2 * WINDOW_BARS:
            for name in self.__slots__:
                del getattr(self, name)[:WINDOW_BARS]


class Chain:
    """Recurrences and windows of one pair and timeframe."""

    def __init__(self, step_ms: int) -> None:
        self._step_s = step_ms / 1_000
        self._columns = _Columns()
        self._ema = [Ema(period) for period in PERIODS]
        self._rsi = [Rsi(period) for period in PERIODS]
        self._adx = [Adx(period) for period in PERIODS]
        self._macd = [Macd(period) for period in PERIODS]
        self._atr = Atr(14)
        self._volatility = [RootEma(15), RootEma(60)]

    def _all(self) -> list[Indicator]:
        return [*self._ema, *self._rsi, *self._adx, *self._macd, self._atr, *self._volatility]

    def dump(self) -> list[list[Any]]:
        """Give the state of every recurrence, in a fixed order; the windows are the caller's bars."""
        return [indicator.dump() for indicator in self._all()]

    def restore(self, state: list[list[Any]], before: Iterable[Bar]) -> None:
        """Take back what `dump` gave, and the last `WINDOW_BARS` bars before that moment, oldest first."""
        for indicator, values in zip(self._all(), state, strict=True):
            indicator.restore(values)
        for bar in before:
            self._columns.push(bar)

    def update(self, bar: Bar) -> dict[str, float | None]:
        """Advance by one bar and give all features by name; None or NaN where there is no value yet."""
        columns = self._columns
        columns.push(bar)
        high, low, close = bar.high, bar.low, bar.close
        closes = columns.closes
        bars = len(closes)
        values: list[float | None] = [sum(closes[-period:]) / period if bars >= period else None for period in PERIODS]
        values += [ema.update(close) for ema in self._ema]
        values += [rsi.update(close) for rsi in self._rsi]
        values += [adx.update(high, low, close) for adx in self._adx]
        macd = [one.update(close) or _NO_MACD for one in self._macd]
        values += [one[0] for one in macd] + [one[1] for one in macd] + [one[2] for one in macd]
        values += _obv_changes(columns)
        values.append(self._atr.update(high, low, close))
        values += _bands(closes)
        values += [log(close / closes[-1 - span]) if bars > span else None for span in _RETURN_SPANS]
        squares = columns.squares
        values += [sqrt(sum(squares[-span:]) / span) if bars > span else None for span in _VOLATILITY_SPANS]
        values += [one.update(squares[-1]) if bars > 1 else None for one in self._volatility]
        values += _flow(columns, self._step_s)
        angle = 2 * pi * (bar.open_ms % DAY_MS) / DAY_MS
        values += [sin(angle), cos(angle)]
        return dict(zip(FEATURE_NAMES, values, strict=True))


def _obv_changes(columns: _Columns) -> list[float | None]:
    """Signed volume over the last bars as a share of their volume, in [-1, 1]; 0 where nothing traded."""
    changes: list[float | None] = []
    for span in _OBV_SPANS:
        if len(columns.closes) <= span:
            changes.append(None)
            continue
        total = sum(columns.volumes[-span:])
        changes.append(sum(columns.signed[-span:]) / total if total else 0.0)
    return changes


def _bands(closes: list[float]) -> list[float | None]:
    """Bollinger bands (20, 2) from the window itself: running sums lose digits on quiet pairs."""
    if len(closes) < _BAND_BARS:
        return [None, None, None]
    window = closes[-_BAND_BARS:]
    middle = sum(window) / _BAND_BARS
    deviation = sqrt(sum([(one - middle) ** 2 for one in window]) / _BAND_BARS)
    return [middle - 2 * deviation, middle, middle + 2 * deviation]


def _flow(columns: _Columns, step_s: float) -> list[float | None]:
    """Taker imbalance, distance to VWAP, trades a second, and volume against its mean."""
    volumes, close, bars = columns.volumes, columns.closes[-1], len(columns.closes)
    values: list[float | None] = []
    for span in _IMBALANCE_SPANS:
        total = sum(volumes[-span:])
        bought = sum(columns.buys[-span:])
        values.append(None if bars < span else (2 * bought - total) / total if total else 0.0)
    for span in _FLOW_SPANS:
        total = sum(volumes[-span:])
        quote = sum(columns.quotes[-span:])
        values.append(None if bars < span else log(close * total / quote) if total else 0.0)
    values += [None if bars < span else sum(columns.trades[-span:]) / (span * step_s) for span in _FLOW_SPANS]
    mean = sum(volumes[-_HOUR_BARS:]) / _HOUR_BARS
    values.append(None if bars < _HOUR_BARS else volumes[-1] / mean if mean else 0.0)
    return values
