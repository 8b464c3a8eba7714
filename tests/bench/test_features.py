"""The features benchmark itself, over a few minutes of a made market."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench import features

ROOT = Path(__file__).parents[2]


def file_of(path: Path, bars: int) -> Path:
    chance = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(chance.normal(0, 1e-3, bars)))
    started = np.datetime64("2024-01-01T00:00:00", "ns")
    columns = {
        "timestamp": started + np.arange(bars) * np.timedelta64(60, "s"),
        "open": close,
        "high": close * 1.001,
        "low": close * 0.999,
        "close": close,
        "volume": chance.uniform(0, 5, bars),
        "trades": chance.integers(1, 90, bars).astype(np.int32),
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.proof
def test_a_small_run_gives_every_figure_and_writes_it(tmp_path: Path) -> None:
    file = file_of(tmp_path / "candles.parquet", features.WARM_BARS + 600)
    out = tmp_path / "result.json"
    asked = ["--runs", "1", "--candles", "500", "--peer-candles", "3", "--no-peer", "--wait-s", "0"]
    command = [sys.executable, "-m", "tests.bench.features", *asked, "--file", str(file), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert all(figure > 0 for figure in found["figures"].values())
    assert found["peer"]["talib_handles_us_p50"] is None
    assert found["year_bars"] == features.WARM_BARS + 600


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.features", "--file", str(tmp_path / "none.parquet")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "give --file" in done.stdout
    assert "Traceback" not in done.stderr
