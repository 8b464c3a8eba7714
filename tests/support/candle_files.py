"""Columns of recorded 1m candles, as files have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tables.records import MINUTE_MS
from tests.support.feature_columns import clock_candles

__all__ = ["candle_columns", "clock_file"]


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


def clock_file(file: Path, minutes: int, seeds: dict[str, int]) -> Path:
    """Write candles that a model can learn something of, each pair of its own seed."""
    parts = []
    for pair, seed in seeds.items():
        columns = clock_candles(minutes, seed)
        columns["timestamp"] = columns.pop("open_ms")
        parts.append(pa.table({**columns, "pair": [pair] * minutes}))
    pq.write_table(pa.concat_tables(parts), file)
    return file
