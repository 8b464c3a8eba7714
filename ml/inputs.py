"""The one definition of model inputs: features without price and volatility units.

Training and serving call the same function, on a matrix or on one row, and get the same bits. NaN stays NaN:
the trees send it left (CatBoost's `nan_mode` Min).
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from tables.features.catalog import FEATURE_NAMES, PERIODS
from tables.records import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from tables.records import Features

__all__ = ["CLOCK_INPUTS", "INPUT_NAMES", "INPUT_SET", "MIN_SIGMA", "RAW_COLUMNS", "inputs", "raw_matrix", "raw_row"]

RAW_COLUMNS: Final[tuple[str, ...]] = ("open", "high", "low", "close", *FEATURE_NAMES, "open_ms")
"""Columns that inputs are computed of, in the order of the raw matrix."""

SIGMA: Final = RAW_COLUMNS.index("ewma_vol_60")
CLOSE: Final = RAW_COLUMNS.index("close")
OPEN_MS: Final = RAW_COLUMNS.index("open_ms")
MIN_SIGMA: Final = 1e-8
"""Least volatility per minute of a market that moves (log return); below it nothing is forecast."""

_VERSION: Final = 2
MIN_RATIO: Final = 1e-3  # a minute without trades has no logarithm
MIN_UNIT: Final = 1e-9  # share of the price, trades per second: below it a band or rate is rounding

# (column, divisor): groups differ in what is taken off and in the unit they are measured in.
FROM_CLOSE: Final = (  # (x - close) / (close * sigma * divisor)
    *((name, 1.0) for name in ("open", "high", "low")),
    *((f"{name}_{p}", math.sqrt(p)) for name in ("sma", "ema") for p in PERIODS),
    *((name, math.sqrt(20)) for name in ("bb_lower_20", "bb_middle_20", "bb_upper_20")),
)
IN_PRICE: Final = (  # x / (close * sigma * divisor)
    *((f"{name}_{p}", math.sqrt(p)) for name in ("macd", "macd_signal", "macd_hist") for p in PERIODS),
    ("atr_14", 1.0),
)
IN_RETURN: Final = (  # x / (sigma * divisor)
    *((f"log_return_{k}", math.sqrt(k)) for k in (1, 5, 15, 60)),
    *((name, 1.0) for name in ("rv_5", "rv_15", "rv_60", "ewma_vol_15")),
    ("vwap_distance_1", 1.0),
    ("vwap_distance_60", math.sqrt(60)),
)
PLAIN: Final = (  # (column, shift, divisor): (x - shift) / divisor
    *((f"rsi_{p}", 50.0, 50.0) for p in PERIODS),
    *((f"adx_{p}", 0.0, 100.0) for p in PERIODS),
    *((name, 0.0, 1.0) for name in ("obv_change_14", "obv_change_60")),
    *((f"taker_imbalance_{k}", 0.0, 1.0) for k in (1, 5, 15)),
    *((name, 0.0, 1.0) for name in ("tod_sin", "tod_cos")),
)
LONG: Final = ("long_vol_360", "long_vol_1440", "long_vol_7200", "long_vol_28800")  # log(x / sigma)
CLOCK: Final = (  # (name, minutes): the minute of the close, counted from a multiple of this
    ("minute_of_quarter", 15),
    ("minute_of_hour", 60),
    ("minute_of_day", 1_440),
)
CLOCK_INPUTS: Final = frozenset(("tod_sin", "tod_cos", *(name for name, _ in CLOCK), "day_of_week"))
"""Inputs that only tell the time: between any two stretches they differ, and nothing has drifted."""
_DERIVED: Final = (
    *("bb_position_20", "bb_width_20", "log_volume_ratio_60", "log_trade_rate_ratio"),
    *(f"log_{name}_ratio" for name in LONG),
    *(name for name, _ in CLOCK),
    "day_of_week",
)

INPUT_NAMES: Final[tuple[str, ...]] = (
    *(f"{name}_from_close" for name, _ in FROM_CLOSE),
    *(f"{name}_scaled" for name, _ in (*IN_PRICE, *IN_RETURN)),
    *(name for name, _, _ in PLAIN),
    *_DERIVED,
)
"""Names of the columns of `inputs`, in order."""

INPUT_SET: Final[str] = hashlib.sha256("\n".join((str(_VERSION), *INPUT_NAMES)).encode()).hexdigest()[:12]
"""Hash of names, order and version of the inputs; a model of another hash is refused."""

_COLUMNS: Final = np.array(
    [RAW_COLUMNS.index(row[0]) for group in (FROM_CLOSE, IN_PRICE, IN_RETURN, PLAIN) for row in group]
)
_SHIFT: Final = np.array([row[1] for row in PLAIN])
_DIVISOR: Final = np.array(
    [
        *(row[1] for group in (FROM_CLOSE, IN_PRICE, IN_RETURN) for row in group),
        *(row[2] for row in PLAIN),
    ]
)
_A: Final = len(FROM_CLOSE)
_B: Final = _A + len(IN_PRICE)
_C: Final = _B + len(IN_RETURN)
_D: Final = _C + len(PLAIN)
_LONG_COLUMNS: Final = np.array([RAW_COLUMNS.index(name) for name in LONG])
_CLOCK_MINUTES: Final = np.array([minutes for _, minutes in CLOCK])
_LOWER, _UPPER, _VOLUME_RATIO, _RATE_1, _RATE_60 = (
    RAW_COLUMNS.index(name)
    for name in ("bb_lower_20", "bb_upper_20", "volume_ratio_60", "trade_rate_1", "trade_rate_60")
)


def raw_row(features: Features) -> npt.NDArray[np.float64]:
    """Give one record as a raw matrix of one row; what is not warm is NaN."""
    value = features.values.get
    row = [features.open, features.high, features.low, features.close, *map(value, FEATURE_NAMES), features.open_ms]
    return np.array([row], dtype=np.float64)


def raw_matrix(columns: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Give columns of equal length as a raw matrix [n, len(RAW_COLUMNS)]."""
    raw = np.empty((len(columns["close"]), len(RAW_COLUMNS)))
    for index, name in enumerate(RAW_COLUMNS):
        raw[:, index] = columns[name]
    return raw


def _positive(values: npt.NDArray[np.float64], least: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    return np.where(values > least, values, np.nan)


def _log_ratio(values: npt.NDArray[np.float64], unit: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    return np.log(np.maximum(values / unit, MIN_RATIO))  # maximum keeps NaN


def inputs(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Turn raw columns into dimensionless inputs.

    Parameters
    ----------
    raw
        [n, len(RAW_COLUMNS)], times in ms, prices in the pair's quote currency.

    Returns
    -------
    [n, len(INPUT_NAMES)] float32, the precision CatBoost compares in.
    """
    close = raw[:, CLOSE : CLOSE + 1]
    sigma = _positive(raw[:, SIGMA : SIGMA + 1], MIN_SIGMA)
    out = np.empty((len(raw), len(INPUT_NAMES)))
    out[:, :_D] = raw[:, _COLUMNS]
    out[:, :_A] -= close
    out[:, _C:_D] -= _SHIFT
    out[:, :_D] /= _DIVISOR
    out[:, :_C] /= sigma
    out[:, :_B] /= close
    band = _positive(raw[:, _UPPER] - raw[:, _LOWER], raw[:, CLOSE] * MIN_UNIT)
    out[:, _D] = (raw[:, CLOSE] - raw[:, _LOWER]) / band
    out[:, _D + 1] = band / (close * sigma)[:, 0]
    out[:, _D + 2] = _log_ratio(raw[:, _VOLUME_RATIO], 1.0)
    out[:, _D + 3] = _log_ratio(raw[:, _RATE_1], _positive(raw[:, _RATE_60], MIN_UNIT))
    first = _D + 4
    out[:, first : first + len(LONG)] = _log_ratio(raw[:, _LONG_COLUMNS], sigma)
    minute = raw[:, OPEN_MS : OPEN_MS + 1] // MINUTE_MS + 1  # of the close
    first += len(LONG)
    out[:, first : first + len(CLOCK)] = minute % _CLOCK_MINUTES
    out[:, -1] = minute[:, 0] // (DAY_MS // MINUTE_MS) % 7
    return out.astype(np.float32)
