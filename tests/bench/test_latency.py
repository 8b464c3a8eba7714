"""The arithmetic of freshness and scale: latencies, closings, straight lines, figures."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tables.records import MINUTE_MS, Trade
from tests.bench import freshness_result, result, scale
from tests.bench.freshness_result import Load, Run
from tests.bench.latency import closings, live_latencies, summary
from tests.bench.pace import Plan, schedule
from tests.bench.scale_memory import MemoryRun, enveloped, straight
from tests.bench.scale_workers import WorkersRun
from tests.bench.synthetic import balanced_pairs

MACHINE: dict[str, object] = {
    "cpu": "Z80", "cores": 1, "ram_gb": 0.1, "os": "CP/M", "python": "3", "java": "none",
}  # fmt: skip
LOAD = Load(0.3, 0.2, 0.1)


def _ns(*times_ms: float) -> np.ndarray:
    return np.array([int(time_ms * 1e6) for time_ms in times_ms], dtype=np.int64)


def test_trade_counts_to_the_first_record_that_reflects_it_and_waiting_for_the_throttle_is_apart() -> None:
    # Records: seen at 10 (trade 1), 213 (trades to 3), 420 (trade 4). The throttle opens at 208 and 411.
    found = live_latencies(
        np.array([1, 2, 3, 4]),
        _ns(0, 20, 205, 412),
        np.array([1, 3, 4]),
        np.array([8, 211, 418]),
        _ns(10, 213, 420),
        throttle_ms=200,
    )
    assert found.total_ms.tolist() == [10.0, 193.0, 8.0, 8.0]
    assert found.above_throttle_ms.tolist() == [10.0, 5.0, 5.0, 8.0]
    assert found.unheld.tolist() == [True, False, False, True]


def test_trade_in_no_record_is_told() -> None:
    with pytest.raises(ValueError, match="trade 3 is in no live candle"):
        live_latencies(np.array([3]), _ns(0), np.array([2]), np.array([1]), _ns(2), throttle_ms=200)


def test_minute_is_closed_by_the_trade_that_takes_the_watermark_past_its_end() -> None:
    # Lateness 2 s: ends at 60, 120 and 180 s close at 62, 122 and 182 s; the late trade at 100 s closes nothing.
    times_s = [30.0, 61.9, 62.0, 100.0, 90.0, 185.0]
    opens_ms, trades = closings(_ns(*(one * 1e3 for one in times_s)), lateness_ms=2_000)
    assert opens_ms.tolist() == [0, MINUTE_MS, 2 * MINUTE_MS]
    assert trades.tolist() == [2, 5, 5]


def test_summary_of_nothing_has_no_percentiles() -> None:
    assert summary(np.array([])) == {"n": 0}
    assert summary(np.array([1.0, 3.0])) == {"n": 2, "p50_ms": 2.0, "p99_ms": 2.98, "max_ms": 3.0}


def test_pairs_are_spread_evenly_over_the_partitions() -> None:
    from aiokafka.partitioner import murmur2  # noqa: PLC0415  # as brokers' clients place a key

    for count in (4, 12, 101):
        names = balanced_pairs(count, 4)
        assert len(set(names)) == count
        sizes = np.bincount([(murmur2(name.encode()) & 0x7FFFFFFF) % 4 for name in names], minlength=4)
        assert sizes.max() - sizes.min() <= 1


def test_envelopes_hold_every_trade_once_and_in_order() -> None:
    trades = [Trade("AB"[at % 2], at, at, 1.0, 1.0, "buy") for at in range(25)]
    parts = list(enveloped(iter(trades), 4))
    assert all(len(part) <= 4 for _, part in parts)
    for pair in "AB":
        sent = [trade.trade_id for name, part in parts if name == pair for trade in part]
        assert sent == [trade.trade_id for trade in trades if trade.pair == pair]


def test_schedule_is_repeatable_and_continues_ids() -> None:
    plan = Plan("x:1", ["A/USD", "B/USD"], 50.0, 4.0, 60.0, 10**18, {"A/USD": 7, "B/USD": 1}, 3, 10, "")
    due_s, trades = schedule(plan)
    assert (due_s, trades) == schedule(plan)
    assert len(trades) == 200
    assert 2.0 < due_s[-1] < 8.0
    assert all(before <= after for before, after in pairwise(due_s))
    for pair, first in plan.next_ids.items():
        ids = [trade.trade_id for trade in trades if trade.pair == pair]
        assert ids == list(range(first, first + len(ids)))
    assert trades[-1].ts_ns - plan.start_ns == int(due_s[-1] * 60e9)


def test_straight_line_is_told_from_one_that_bends_upwards() -> None:
    line = straight({4: 100.4, 100: 110.0, 300: 130.0, 1_000: 200.0})
    assert (line.per_pair_kb, line.base_mb, line.worst_residual_mb) == (100.0, 100.0, 0.0)
    assert (line.bend, line.superlinear) == (1.0, False)
    assert straight({4: 100.0, 100: 110.0, 1_000: 400.0}).superlinear
    assert not straight({4: 100.0, 100: 130.0, 1_000: 200.0}).superlinear, "a slope that falls is none"
    assert not straight({4: 100.0, 100: 100.1, 1_000: 104.0}).superlinear, "so little is noise"
    assert straight({4: 100.0, 100: 110.0}).bend is None


def _run(job: str, rate: str, live_p99_ms: float, forecast_p99_ms: float | None) -> Run:
    live: dict[str, float | int] = {"n": 9, "p50_ms": 5.0, "p99_ms": live_p99_ms, "max_ms": 99.0}
    forecast: dict[str, float | int] = (
        {} if forecast_p99_ms is None else {"n": 9, "p50_ms": 9.0, "p99_ms": forecast_p99_ms, "max_ms": 99.0}
    )
    return Run(job, rate, 100, live, {"n": 0}, live, forecast, {}, LOAD, 1.0, 0.0)


def test_freshness_gives_medians_by_rate_and_names_missed_goals(tmp_path: Path) -> None:
    runs = [_run("plain", "100", live_ms, 80.0) for live_ms in (20.0, 30.0, 900.0)]
    runs += [_run("sinks", "100", 60.0, 80.0), _run("quix", "100", 60.0, None)]
    found = freshness_result.assemble(MACHINE, runs)
    assert found["figures"]["100"]["live_p99_ms"] == 30.0
    assert found["figures"]["100"]["forecast_p99_ms"] == 80.0
    assert "live_unheld_p99_ms" not in found["figures"]["100"]
    assert found["missed"] == ["live_with_sinks_p99_ms at 100/s: 60 > 50"]
    assert found["peer"]["100"] == {"live_p99_ms": 60.0, "live_p50_ms": 5.0}
    assert found["ratio"] == {"100": 0.5}
    result.write(found, tmp_path / "freshness.json")
    assert json.loads((tmp_path / "freshness.json").read_text())["missed"] == found["missed"]
    console = Console(record=True, width=120)
    freshness_result.show(found, console)
    assert "Z80" in console.export_text()


def test_scale_gives_speed_up_and_memory_by_pairs() -> None:
    memory = [MemoryRun(pairs, 100 + pairs * 0.1, 150, 90, 5, 10, 9, 1.0) for pairs in (4, 100, 1_000)]
    workers = [
        WorkersRun(1, 1_000, 10.0, 9.0, 1.0, 5, 5, 0.1, 0.0),
        WorkersRun(2, 1_000, 5.5, 9.5, 1.1, 5, 5, 0.1, 0.0),
    ]
    found = scale.assemble(MACHINE, memory, workers)
    assert found["figures"]["rss_mb"] == {"4": 100.4, "100": 110.0, "1000": 200.0}
    assert found["figures"]["speedup_2_workers"] == 1.82
    assert found["figures"]["speedup_by_cpu"] == 1.89
    assert found["figures"]["cores_needed"] == 2.12
    assert found["superlinear"] == []
    console = Console(record=True, width=120)
    scale.show(found, console)
    assert "1.82" in console.export_text()
