"""A Parquet file of invented 1m candles, as a person would bring one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.feature_columns import clock_candles

__all__ = ["recorded", "write_recording"]


def recorded(minutes: int, seed: int = 1) -> dict[str, Any]:
    """Give the columns of such a file."""
    columns = clock_candles(minutes, seed)
    return {"timestamp": columns.pop("open_ms").astype("datetime64[ms]"), **columns}


def write_recording(path: Path, columns: dict[str, Any]) -> Path:
    """Write columns of numpy arrays."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({name: np.asarray(column) for name, column in columns.items()}), path)
    return path
