"""The ordered feature list. Whoever needs a column name reads it here."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["DEFINITION_VERSION", "FEATURE_NAMES", "FEATURE_SET", "PERIODS"]

PERIODS: Final = (7, 14, 21, 60)
DEFINITION_VERSION: Final = 1
"""Raise it when a formula changes under the same name: models of the old hash are refused."""

_PER_PERIOD: Final = ("sma", "ema", "rsi", "adx", "macd", "macd_signal", "macd_hist")

FEATURE_NAMES: Final[tuple[str, ...]] = (
    *(f"{name}_{period}" for name in _PER_PERIOD for period in PERIODS),
    "obv_change_14",
    "obv_change_60",
    "atr_14",
    "bb_lower_20",
    "bb_middle_20",
    "bb_upper_20",
    "log_return_1",
    "log_return_5",
    "log_return_15",
    "log_return_60",
    "rv_5",
    "rv_15",
    "rv_60",
    "ewma_vol_15",
    "ewma_vol_60",
    "taker_imbalance_1",
    "taker_imbalance_5",
    "taker_imbalance_15",
    "vwap_distance_1",
    "vwap_distance_60",
    "trade_rate_1",
    "trade_rate_60",
    "volume_ratio_60",
    "tod_sin",
    "tod_cos",
)

FEATURE_SET: Final[str] = hashlib.sha256("\n".join((str(DEFINITION_VERSION), *FEATURE_NAMES)).encode()).hexdigest()[:12]
"""Hash of names, order and definition version; carried by features, forecasts and models."""
