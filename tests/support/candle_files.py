"""Columns of recorded 1m candles, as files have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tables.records import MINUTE_MS
from tests.support.feature_columns import clock_candles

__all__ = ["candle_columns", "clock_file", "recorded", "write_recording"]


def candle_columns(rows: int, step_ms: int = MINUTE_MS, start_ms: int = 1_700_000_040_000) -> dict[str, Any]:
    """Give sound candles around 100."""
    close = 100.0 + np.sin(np.arange(rows))
    return {
        "timestamp": start_ms + step_ms * np.arange(rows, dtype=np.int64),
        "open": close + 0.1,
        "high": close + 0.5,
        "low": close - 0.5,
        "close": close,
        "volume": np.full(rows, 2.0),
    }


def recorded(minutes: int, seed: int = 1) -> dict[str, Any]:
    """Give candles that a model can learn something of."""
    columns = clock_candles(minutes, seed)
    return {"timestamp": columns.pop("open_ms").astype("datetime64[ms]"), **columns}


def write_recording(file: Path, columns: dict[str, Any]) -> Path:
    """Write columns of one length as Parquet."""
    pq.write_table(pa.table(columns), file)
    return file


def clock_file(file: Path, minutes: int, seeds: dict[str, int]) -> Path:
    """Write `recorded` candles of several pairs, each of its own seed."""
    parts = [{**recorded(minutes, seed), "pair": np.full(minutes, pair)} for pair, seed in seeds.items()]
    return write_recording(file, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
