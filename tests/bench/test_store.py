"""The store benchmark itself: few rows into a real store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.component, pytest.mark.proof]
ROOT = Path(__file__).parents[2]


def test_a_quick_run_counts_what_the_store_has(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "tests.bench.store", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["figures"]["rows"] == 8_000 == sum(run["rows"] for run in found["runs"])
    assert found["figures"]["insert_rows_per_s"] > 0
    assert found["figures"]["latest_500_p99_ms"] >= found["figures"]["latest_500_p50_ms"] > 0
    assert 0 < found["figures"]["bytes_per_row"] < 8 * found["figures"]["columns"], "the codecs do something"
