"""The codec benchmark itself: few minutes into a real store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.codecs import CODECS, SERVED
from tests.bench.command import SHARED

pytestmark = [pytest.mark.component, pytest.mark.proof]
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (SHARED / "candles").exists(), reason="the recorded candles are not here")
def test_a_quick_run_has_every_codec_and_column(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "tests.bench.codecs", "--rows", "2000", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    for table in ("candles", "features"):
        figures = found["figures"][table]
        assert set(figures["bytes_per_row"]) == {SERVED, *CODECS}
        assert 0 < figures["best_of_each_column"] <= min(figures["bytes_per_row"].values()) + 0.1
        assert set(found["notes"]["best"][table]) == set(found["runs"][table][SERVED]["bytes_per_row"])
