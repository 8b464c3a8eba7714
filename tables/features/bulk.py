"""The bulk path: the same features over whole arrays, with tulipy as the engine. Backfill, training, and oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import tulipy

from tables.features.catalog import FEATURE_NAMES, PERIODS
from tables.records import DAY_MS

__all__ = ["Array", "feature_matrix"]

Array = npt.NDArray[np.float64]
_BAND_BARS: Final = 20


def feature_matrix(columns: Mapping[str, npt.NDArray[np.generic]], step_ms: int) -> Array:
    """Compute all features of one pair and timeframe, gapless and in time order.

    Parameters
    ----------
    columns
        1-D arrays of n bars: `open_ms` (ms), `high`, `low`, `close` (price), `volume`, `buy_volume` (base),
        `quote_volume` (quote), `trades` (count).
    step_ms
        Length of a bar (ms).

    Returns
    -------
    float64 array of shape (n, len(FEATURE_NAMES)), NaN until an indicator is warm.

    """
    high, low, close, volume, quote, buy, trades = (
        np.ascontiguousarray(columns[name], dtype=np.float64)
        for name in ("high", "low", "close", "volume", "quote_volume", "buy_volume", "trades")
    )
    rows = len(close)
    found: dict[str, Array] = {}
    for period in PERIODS:
        found[f"sma_{period}"] = _moving_sum(close, period) / period
        found[f"ema_{period}"] = _padded(rows, tulipy.ema, close, period)
        found[f"rsi_{period}"] = _padded(rows, tulipy.rsi, close, period)
        found[f"adx_{period}"] = _padded(rows, tulipy.adx, high, low, close, period)
        macd = _padded_many(rows, 3, tulipy.macd, close, period, 2 * period, period)
        found[f"macd_{period}"], found[f"macd_signal_{period}"], found[f"macd_hist_{period}"] = macd
    found["atr_14"] = _padded(rows, tulipy.atr, high, low, close, 14)
    _add_moments(found, close, volume)
    flow = {"volume": volume, "quote": quote, "buy": buy, "trades": trades}
    _add_flow(found, flow, close, step_ms / 1_000)
    angle = 2 * np.pi * (np.asarray(columns["open_ms"], dtype=np.int64) % DAY_MS) / DAY_MS
    found["tod_sin"], found["tod_cos"] = np.sin(angle), np.cos(angle)
    return np.column_stack([found[name] for name in FEATURE_NAMES])


def _add_moments(found: dict[str, Array], close: Array, volume: Array) -> None:
    logs = np.log(close)
    steps = np.concatenate(([np.nan], np.diff(close)))
    for span in (1, 5, 15, 60):
        found[f"log_return_{span}"] = _lagged(logs, span)
    squares = found["log_return_1"][1:] ** 2
    for span in (5, 15, 60):
        found[f"rv_{span}"] = np.concatenate(([np.nan], np.sqrt(_moving_sum(squares, span) / span)))
    for period in (15, 60):
        averaged = tulipy.ema(np.ascontiguousarray(squares), period) if len(squares) else squares
        found[f"ewma_vol_{period}"] = np.concatenate(([np.nan], np.sqrt(averaged)))
    signed = np.sign(np.nan_to_num(steps)) * volume
    for span in (14, 60):
        change = _ratio(_moving_sum(signed, span), _moving_sum(volume, span))
        change[:span] = np.nan
        found[f"obv_change_{span}"] = change
    windows = _windows(close, _BAND_BARS)
    middle = windows.mean(axis=1) if len(windows) else np.empty(0)
    deviation = windows.std(axis=1) if len(windows) else np.empty(0)
    for name, band in (("lower", middle - 2 * deviation), ("middle", middle), ("upper", middle + 2 * deviation)):
        found[f"bb_{name}_20"] = _left_pad(band, len(close))


def _add_flow(found: dict[str, Array], flow: Mapping[str, Array], close: Array, step_s: float) -> None:
    volume, quote, buy = flow["volume"], flow["quote"], flow["buy"]
    for span in (1, 5, 15):
        total = _moving_sum(volume, span)
        found[f"taker_imbalance_{span}"] = _ratio(2 * _moving_sum(buy, span) - total, total)
    for span in (1, 60):
        total = _moving_sum(volume, span)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.log(close * total / _moving_sum(quote, span))
        found[f"vwap_distance_{span}"] = np.where(total == 0, 0.0, distance)
        found[f"trade_rate_{span}"] = _moving_sum(flow["trades"], span) / (span * step_s)
    found["volume_ratio_60"] = _ratio(volume, _moving_sum(volume, 60) / 60)


def _windows(values: Array, span: int) -> npt.NDArray[np.float64]:
    if len(values) < span:
        return np.empty((0, span))
    return np.lib.stride_tricks.sliding_window_view(values, span)


def _moving_sum(values: Array, span: int) -> Array:
    """Sum of each window by itself: running sums lose digits."""
    return _left_pad(_windows(values, span).sum(axis=1), len(values))


def _ratio(part: Array, total: Array) -> Array:
    """Divide; 0 where total is 0, NaN where it is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total == 0, 0.0, part / total)


def _lagged(logs: Array, span: int) -> Array:
    return _left_pad(logs[span:] - logs[:-span], len(logs))


def _left_pad(values: Array, rows: int) -> Array:
    return np.concatenate((np.full(rows - len(values), np.nan), values))


def _padded(rows: int, indicator: Callable[..., Array], *arguments: object) -> Array:
    try:
        return _left_pad(indicator(*arguments), rows)
    except tulipy.InvalidOptionError:
        # The library's word for "too few bars"; its text is empty.
        return np.full(rows, np.nan)


def _padded_many(
    rows: int, outputs: int, indicator: Callable[..., tuple[Array, ...]], *arguments: object
) -> list[Array]:
    try:
        return [_left_pad(output, rows) for output in indicator(*arguments)]
    except tulipy.InvalidOptionError:
        return [np.full(rows, np.nan) for _ in range(outputs)]
