"""The benchmark of the fold itself, over a few recorded-like trades."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = "symbol,price,qty,side,ord_type,trade_id,timestamp\n"


def run(*asked: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench.fold", "--runs", "1", "--wait-s", "0", *asked]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.proof
def test_a_small_run_gives_every_step_and_counts_the_candles(tmp_path: Path) -> None:
    rows = (
        f"BTC/USD,{100 + at % 7},0.5,buy,limit,{at + 1},2024-01-01T00:{at // 60:02d}:{at % 60:02d}Z"
        for at in range(600)
    )
    file, out = tmp_path / "trades.csv", tmp_path / "result.json"
    file.write_text(HEADER + "\n".join(rows) + "\n")
    done = run("--file", str(file), "--repeats", "1", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["figures"]
    for one in found.values():
        assert all(spent > 0 for spent in one["us_per_trade"].values())
        assert one["take_aiokafka_us_per_trade"] > 0
        assert one["trades"] == 601
    # Ten minutes, and silence until the closing trade on the next day; squeezed, one traded minute is left.
    assert found["recorded"]["candles"] == found["busy"]["candles"] == 1_440 + 288 + 96 + 24 + 6 + 1


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    done = run("--file", str(tmp_path / "none.csv"))
    assert done.returncode == 1
    assert "give --file" in done.stdout
    assert "Traceback" not in done.stderr
