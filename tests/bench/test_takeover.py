"""The takeover benchmark itself: one small round on a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.takeover import ABOUT

pytestmark = [pytest.mark.component, pytest.mark.proof]
ROOT = Path(__file__).parents[2]


def test_a_worker_comes_back_and_another_takes_over(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    asked = ["--runs", "1", "--pairs", "8", "--minutes", "3", "--wait-s", "0", "--out", str(out)]
    command = [sys.executable, "-m", "tests.bench.takeover", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert [run["kind"] for run in found["runs"]] == list(ABOUT)
    assert all(seconds > 0 for seconds in found["figures"].values())
