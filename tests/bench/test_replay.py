"""The benchmark itself: its trades, its arithmetic, and a small run on the real parts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from redpanda.errors import MissingToolError
from redpanda.local.checks import find_java
from tables.records import MINUTE_MS, TIMEFRAMES
from tests.bench import replay, result
from tests.bench.recording import Recording, bars_of, envelopes, load
from tests.bench.result import Run
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
HEAD = "symbol,price,qty,side,ord_type,trade_id,timestamp\n"
MACHINE = {"cpu": "Z80", "cores": 1, "ram_gb": 0.1, "os": "CP/M", "python": "3", "java": "none"}


def quantity(at: int) -> str:
    """Give one amount of many decimals, as the recorded file has: what counts is its text."""
    return "0.70975855899999996" if at == 7 else f"0.{at % 9 + 1}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        f"{pair},{price + at % 7}.5,{quantity(at)},{'buy' if at % 3 else 'sell'},market,,"
        f"2018-05-{day}T{at // 60 % 24:02}:{at % 60:02}:{at % 50:02}.5Z"
        for pair, price, day in (("BTC/USD", 8_000, 13), ("ETH/USD", 700, 14))
        for at in range(1_000)
    ]
    path = tmp_path / "trades.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return path


def test_repeated_trades_continue_ids_and_times(file: Path) -> None:
    recording = load(file, repeats=3)
    for pair in ("BTC/USD", "ETH/USD"):
        trades = [trade for trade in recording.trades if trade.pair == pair]
        assert [trade.trade_id for trade in trades] == list(range(1, 3_002))
        assert all(before.ts_ns <= after.ts_ns for before, after in pairwise(trades))
        assert trades[-1] == recording.closers[pair]


def test_envelopes_hold_every_trade_once_and_in_order(file: Path) -> None:
    recording = load(file, repeats=1)
    for size in (1, 7, 5_000):
        parts = list(envelopes(recording, size))
        assert all(len(part) <= size for _, part in parts)
        for pair in recording.pairs:
            sent = [trade.trade_id for name, part in parts if name == pair for trade in part]
            assert sent == list(range(1, 1_002))


def test_recompute_leaves_out_what_is_still_open(file: Path) -> None:
    recording: Recording = load(file, repeats=2)
    bars = bars_of(recording, "BTC/USD")
    for timeframe in TIMEFRAMES:
        assert sum(bar.trades for (frame, _), bar in bars.items() if frame == timeframe) == 2_000
    closer_ms = recording.closers["BTC/USD"].ts_ns // 1_000_000
    assert max(open_ms for frame, open_ms in bars if frame == "1m") == closer_ms - closer_ms % 86_400_000 - MINUTE_MS


def test_result_holds_medians_and_ratios() -> None:
    runs = [Run("tickcast", 1, 1_000, seconds, seconds * 2, 9, 0.0) for seconds in (1.0, 0.5, 8.0)]
    runs += [Run("tickcast", 50, 1_000, 0.1, 0.2, 9, 0.0), Run("candles-only", 1, 1_000, 0.4, None, 9, 0.0)]
    runs += [Run("current", 1, 1_000, 4.0, None, 1_000, 0.0), Run("final", 1, 1_000, 2.0, None, 9, 0.0)]
    runs += [
        Run("candles-only", 1, 1_000, 0.2, None, 9, 0.0, "busy"),
        Run("current", 1, 1_000, 4, None, 9, 0.0, "busy"),
    ]
    found = result.assemble(MACHINE, runs, {"trades": 1_000}, {"name": "Quix"})
    assert found["figures"] == {
        "trades_per_s": {"1": 1_000, "50": 10_000},
        "to_store_trades_per_s": {"1": 500, "50": 5_000},
        "candles_only_trades_per_s": {"1": 2_500},
        "busy_trades_per_s": {"1": 5_000},
    }
    assert found["peer"]["trades_per_s"] == {"current": 250, "final": 500, "busy_current": 250}
    assert found["ratio_busy"] == 20.0
    assert (found["ratio"], found["ratio_final"], found["ratio_candles_only"]) == (4.0, 2.0, 10.0)
    assert len(found["runs"]) == 9


def test_result_without_a_peer_has_no_ratio(tmp_path: Path) -> None:
    found = result.assemble(MACHINE, [Run("tickcast", 5, 10, 1.0, 1.0, 9, 0.0)], {"trades": 10}, {})
    assert found["ratio"] is None
    result.write(found, tmp_path / "new" / "replay.json")
    assert json.loads((tmp_path / "new" / "replay.json").read_text())["figures"]["trades_per_s"] == {"5": 10}
    console = Console(record=True, width=120)
    result.show(found, console)
    assert "Z80" in console.export_text()


@pytest.mark.component
@pytest.mark.proof
def test_small_run_gives_figures_of_correct_candles(file: Path) -> None:
    pytest.importorskip("chdb", reason="chdb-core is not installed (uv sync --extra local)")
    try:
        find_java()
    except MissingToolError as error:
        pytest.skip(str(error))
    asked = ["--file", str(file), "--runs", "1", "--sizes", "5", "--repeats", "1", "--peers", "", "--wait-quiet-s", "0"]
    found = replay.run(replay.options(asked), Console(quiet=True))
    assert found["trades"] == 2_002
    assert found["figures"]["busy_trades_per_s"]["5"] > 0
    assert found["figures"]["trades_per_s"]["5"] > found["figures"]["to_store_trades_per_s"]["5"] > 0


@pytest.mark.component
def test_stopped_benchmark_leaves_no_process(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("chdb", reason="chdb-core is not installed (uv sync --extra local)")
    try:
        find_java()
    except MissingToolError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "tests.bench", "replay", "--file", str(file), "--sizes", "1", "--peers", ""]
    bench = psutil.Popen(
        [*command, "--repeats", "1", "--runs", "99", "--wait-quiet-s", "0", "--out", str(tmp_path / "r.json")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: any("app.cli" in _arguments(child) for child in bench.children(recursive=True)), 60)
        children = bench.children(recursive=True)
        bench.terminate()
        assert bench.wait(30) == 143
        assert psutil.wait_procs(children, timeout=10)[1] == []
    finally:
        if bench.poll() is None:
            bench.kill()


def _arguments(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.cmdline())
    return []
