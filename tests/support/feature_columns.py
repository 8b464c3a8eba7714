"""The feature table by tulipy and numpy, without the fold: what `ml` is tested on.

Formulas of the catalogue, over whole columns. Indicators are NaN until warm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tulipy

from tables.features.catalog import FEATURE_NAMES, PERIODS
from tables.records import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


def _right(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    return np.concatenate([np.full(size - len(values), np.nan), values])


def _window_sum(values: npt.NDArray[np.float64], bars: int) -> npt.NDArray[np.float64]:
    total = np.cumsum(np.concatenate([[0.0], values]))
    return _right(total[bars:] - total[:-bars], len(values))


def _lagged_log(close: npt.NDArray[np.float64], bars: int) -> npt.NDArray[np.float64]:
    return _right(np.log(close[bars:] / close[:-bars]), len(close))


def _indicators(candles: dict[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    high, low, close = candles["high"], candles["low"], candles["close"]
    size, out = len(close), {}
    for p in PERIODS:
        out[f"sma_{p}"] = _right(tulipy.sma(close, p), size)
        out[f"ema_{p}"] = tulipy.ema(close, p)
        out[f"rsi_{p}"] = _right(tulipy.rsi(close, p), size)
        out[f"adx_{p}"] = _right(tulipy.adx(high, low, close, p), size)
        macd = (tulipy.ema(close, p) - tulipy.ema(close, 2 * p))[2 * p - 1 :]
        signal = tulipy.ema(np.ascontiguousarray(macd), p)
        for name, values in (("macd", macd), ("macd_signal", signal), ("macd_hist", macd - signal)):
            out[f"{name}_{p}"] = _right(values, size)
    out["atr_14"] = _right(tulipy.atr(high, low, close, 14), size)
    middle = _right(np.lib.stride_tricks.sliding_window_view(close, 20).mean(axis=1), size)
    spread = 2.0 * _right(np.lib.stride_tricks.sliding_window_view(close, 20).std(axis=1), size)
    out.update(bb_lower_20=middle - spread, bb_middle_20=middle, bb_upper_20=middle + spread)
    return out


def _flows(candles: dict[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    close, volume, buy = candles["close"], candles["volume"], candles["buy_volume"]
    out = {}
    direction = np.sign(np.diff(close, prepend=close[0]))
    with np.errstate(divide="ignore", invalid="ignore"):  # minutes without volume
        for p in (14, 60):
            out[f"obv_change_{p}"] = _window_sum(direction * volume, p) / _window_sum(volume, p)
        for k in (1, 5, 15):
            total = _window_sum(volume, k)
            out[f"taker_imbalance_{k}"] = (2 * _window_sum(buy, k) - total) / total
        for k in (1, 60):
            vwap = _window_sum(candles["quote_volume"], k) / _window_sum(volume, k)
            out[f"vwap_distance_{k}"] = np.log(close / vwap)
            out[f"trade_rate_{k}"] = _window_sum(candles["trades"], k) / (60.0 * k)
        out["volume_ratio_60"] = volume / (_window_sum(volume, 60) / 60)
    return out


def _volatility(close: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    one = _lagged_log(close, 1)
    squares = np.nan_to_num(one) ** 2
    out = {f"log_return_{k}": _lagged_log(close, k) for k in (1, 5, 15, 60)}
    for k in (5, 15, 60):
        out[f"rv_{k}"] = np.sqrt(np.maximum(_window_sum(squares, k), 0.0) / k)
        out[f"rv_{k}"][:k] = np.nan
    for p in (15, 60):
        out[f"ewma_vol_{p}"] = _right(np.sqrt(tulipy.ema(squares[1:], p)), len(close))
    for p in (360, 1_440, 7_200, 28_800):
        mean, means = 0.0, np.full(len(close), np.nan)
        for at, square in enumerate(squares[1:].tolist(), 1):
            mean += (square - mean) * max(2 / (p + 1), 1 / at)
            means[at] = mean
        out[f"long_vol_{p}"] = np.sqrt(means)
    return out


def feature_columns(pair: str, candles: dict[str, Any]) -> dict[str, Any]:
    """Give the feature table of one pair from candle columns; trades and buy_volume where they are known."""
    size = len(candles["close"])
    full = {
        "quote_volume": (candles["high"] + candles["low"] + candles["close"]) / 3 * candles["volume"],
        "buy_volume": candles["volume"] * 0.5,
        "trades": np.ones(size),
        "synthetic": np.zeros(size, dtype=bool),
        **candles,
    }
    angle = 2 * np.pi * (full["open_ms"] % DAY_MS) / DAY_MS
    values = {
        **_indicators(full),
        **_flows(full),
        **_volatility(full["close"]),
        "tod_sin": np.sin(angle),
        "tod_cos": np.cos(angle),
    }
    assert set(values) <= set(FEATURE_NAMES)
    values |= {name: np.full(size, np.nan) for name in FEATURE_NAMES if name not in values}
    bars = np.arange(1, size + 1, dtype=np.int64)
    return {
        "pair": np.full(size, pair),
        **full,
        "bars": bars,
        **{name: values[name] for name in FEATURE_NAMES},
    }


def stack(*tables: dict[str, Any]) -> dict[str, Any]:
    """Put the tables of several pairs under each other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def noise_candles(minutes: int, seed: int, start_ms: int = 1_700_000_040_000) -> dict[str, Any]:
    """Simulate integrated GARCH with the decay of `ewma_vol_60`: the baseline's volatility is the truth.

    Fat tails and clusters as in real markets, and nothing left that a model could know better.
    """
    rng = np.random.default_rng(seed)
    weight = 2.0 / 61.0
    variance, noise, returns = 4e-7, rng.standard_t(8, minutes) * np.sqrt(6 / 8), np.empty(minutes)
    for i in range(minutes):
        returns[i] = np.sqrt(variance) * noise[i]
        variance += weight * (returns[i] ** 2 - variance)
        variance = max(variance, 1e-8)  # it drifts to zero otherwise, as every integrated GARCH does
    return candles_of_returns(returns, rng, start_ms)


def clock_candles(minutes: int, seed: int, start_ms: int = 1_700_000_040_000) -> dict[str, Any]:
    """Simulate hours of sixfold volatility that busy trading tells at once and an EWMA only later."""
    rng = np.random.default_rng(seed)
    busy = np.where((start_ms // MINUTE_MS + np.arange(minutes)) % 240 < 60, 6.0, 1.0)
    return candles_of_returns(3e-4 * busy * rng.standard_normal(minutes), rng, start_ms, busy)


def candles_of_returns(
    returns: npt.NDArray[np.float64],
    rng: np.random.Generator,
    start_ms: int,
    busy: npt.NDArray[np.float64] | float = 1.0,
) -> dict[str, Any]:
    """Make candles whose closes follow given log returns."""
    size = len(returns)
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    reach = np.abs(rng.standard_normal((2, size))) * 1e-4
    volume = rng.gamma(2.0, 1.0, size) * busy
    return {
        "open_ms": start_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS * np.arange(size, dtype=np.int64),
        "open": opened,
        "high": np.maximum(opened, close) * (1 + reach[0]),
        "low": np.minimum(opened, close) * (1 - reach[1]),
        "close": close,
        "volume": volume,
        "buy_volume": volume * rng.uniform(0.2, 0.8, size),
        "trades": np.ceil(volume * 10),
    }


def binance_candles(path: Path, minutes: int, skip: int = 0) -> dict[str, Any]:
    """Read recorded minutes (open time, OHLCV, number of trades)."""
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(path, columns=["timestamp", "open", "high", "low", "close", "volume", "trades"])
    table = table.slice(skip, minutes)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names[1:]}
    open_ms = table["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    return {"open_ms": open_ms, **columns}
