"""The feed benchmark itself: a few clients on a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.component, pytest.mark.proof]
ROOT = Path(__file__).parents[2]


def test_every_client_gets_every_update_of_both_servers(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    asked = ["--clients", "20", "--seconds", "4", "--wait-s", "0", "--out", str(out)]
    command = [sys.executable, "-m", "tests.bench.feed", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert {run["job"] for run in found["runs"]} == {"tickcast", "websockets"}
    for one in (found["figures"], found["peer"]):
        assert (one["clients"], one["missing"]) == (20, 0)
        assert 0 < one["delivery_p50_ms"] <= one["delivery_p99_ms"]
