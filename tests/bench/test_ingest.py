"""The ingest and soak benchmarks themselves: small runs on a real broker, and the arithmetic of the slope."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.trades.exchanges.kraken import decode_frame, decode_page
from tests.bench.ingest_parts import frames_v2, pages
from tests.bench.soak import Sample, fault, slope
from tests.bench.stack import BenchError

ROOT = Path(__file__).parents[2]


def run(name: str, out: Path, *asked: str) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", f"tests.bench.{name}", *asked, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, float]] = json.loads(out.read_text())
    return found


@pytest.mark.component
@pytest.mark.proof
def test_a_small_ingest_run_gives_every_figure_and_writes_it(tmp_path: Path) -> None:
    asked = ("--runs", "1", "--pages", "5", "--frames", "3000", "--wait-s", "0")
    found = run("ingest", tmp_path / "result.json", *asked)
    for name in ("backfill_trades_per_s", "live_frames_per_s", "decode_frames_per_s"):
        assert found["figures"][name] > 0
    assert found["peer"]["frames_per_s"] is None


@pytest.mark.component
@pytest.mark.proof
def test_a_short_soak_gives_a_slope_and_the_rate(tmp_path: Path) -> None:
    found = run("soak", tmp_path / "result.json", "--seconds", "8", "--rate", "500", "--every-s", "1")
    assert found["figures"]["trades_per_s"] == pytest.approx(500, rel=0.1)
    assert found["figures"]["rss_mb"] > 10


def test_the_slope_is_that_of_the_line_and_doubts_what_is_noisy() -> None:
    line = [Sample(at * 5.0, 100_000 + at * 10, at) for at in range(100)]
    assert slope(line) == pytest.approx((120.0, 0.0), abs=1e-6)
    noisy = [Sample(one.at_s, one.rss_kb + (500 if at % 2 else -500), 0) for at, one in enumerate(line)]
    per_min, half = slope(noisy)
    assert per_min - half < 120.0 < per_min + half
    with pytest.raises(BenchError, match="--seconds"):
        slope(line[:2])


def test_growing_memory_is_a_fault_only_where_the_run_is_long_enough() -> None:
    figures = {"rss_slope_kb_per_min_95": [60.0, 90.0], "trades_per_s": 5_000}
    found = {"seconds": 3_600, "rate": 5_000, "figures": figures}
    assert "memory grows" in fault(found)
    assert fault(found | {"seconds": 120}) == ""
    assert "came through" in fault(found | {"seconds": 120, "rate": 6_000})


def test_what_is_fed_in_is_what_the_decoders_take() -> None:
    (body,) = pages("A/B", 7, 1, 50)
    page = decode_page(body, "A/B", 1 << 62, "sim")
    assert ([trade.trade_id for trade in page.trades], page.refusals) == (list(range(7, 57)), [])
    decoded = decode_frame(frames_v2("A/B", 7, 1, 1_700_000_000_123_456_000)[0], frozenset(["A/B"]), 1 << 62, "sim")
    assert (decoded.trades[0].trade_id, decoded.trades[0].ts_ns) == (7, 1_700_000_000_123_456_000)
