"""From the phases of all runs to the figures of `freshness`: medians, the peer, notes and the table."""

from __future__ import annotations

from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench.machine import one_line

__all__ = ["GOALS", "Load", "Run", "assemble", "show"]

GOALS = {"live_p99_ms": 50, "forecast_p99_ms": 100}
NOTES = {
    "unit": "milliseconds; each figure is the median over the runs of that run's percentile",
    "produced": "the wall clock at which a trade is handed to the ingest's publisher (kafka-python, acks=all, lz4, "
    "idempotent), which fills one envelope a pair for at most 10 ms: the linger is part of every latency. Arrivals "
    "are Poisson, all pairs together; pacer_behind_p99_ms tells how late the pacer itself was.",
    "seen": "the wall clock at which a reading process has the record: one more hop through the loopback, "
    "steps.reader in every run",
    "live": "of every trade, to the first candles-live record that reflects it (last_trade_id at or above it). A pair "
    "gets one live candle in 200 ms by contract. live_*: from the trade, or from when 200 ms since the pair's last "
    "live candle (its append time) had passed, if that was later. live_unheld_*: only trades that were produced when "
    "no wait was due. live_with_throttle_*: the wait included.",
    "forecast": "of every closed 1m candle: from the production of the trade that took the watermark past its end "
    "(lateness 2 s of event time) to its forecasts of all three horizons seen",
    "time": "event time lies in the past and runs 60 times as fast as the clock (15 times at 1 trade/s), so that each "
    "pair closes a minute every 1 s (4 s): a minute closes 15 to 60 times as often as it would, and costs as much",
    "variants": "plain: stages candles, features, predictor. sinks: the four stages of a default worker, "
    "with ClickHouse (chdb) beside it on the same cores.",
    "fairness": "Quix makes one timeframe and answers every trade with one record, without a throttle: its figure is "
    "the trade to that record. Same publisher, trades and reader; linger 0; it commits every 5 s, its default.",
}


class Load(msgspec.Struct, frozen=True):
    """What was taken of the machine in a phase."""

    worker_cores: float
    broker_cores: float
    crowded: float
    """Share of the time in which some process was ready and had no core; near 1 others had the machine too."""


class Run(msgspec.Struct, frozen=True):
    """One rate in one run."""

    job: str
    """`plain`, `sinks` or `quix`."""
    rate: str
    trades: int
    live: dict[str, float | int]
    live_unheld: dict[str, float | int]
    live_with_throttle: dict[str, float | int]
    forecast: dict[str, float | int]
    steps: dict[str, dict[str, float | int]]
    """Where a forecast's time went, between the broker's append times (whole ms)."""
    load: Load
    pacer_behind_p99_ms: float
    busy_cores: float
    """Cores that others kept busy just before the run."""


def assemble(machine: dict[str, object], runs: list[Run]) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    rates = list(dict.fromkeys(run.rate for run in runs))
    figures: dict[str, dict[str, float]] = {}
    for rate in rates:
        figures[rate] = {}
        for job, mark in (("plain", ""), ("sinks", "_with_sinks")):
            mine = [run for run in runs if run.job == job and run.rate == rate]
            for name in ("live", "live_unheld", "live_with_throttle", "forecast"):
                for at in ("p50", "p99"):
                    if (value := _median(mine, name, at)) is not None:
                        figures[rate][f"{name}{mark}_{at}_ms"] = value
    peers = {
        rate: {f"live_{at}_ms": _median([one for one in runs if one.job == "quix" and one.rate == rate], "live", at)}
        for rate in rates
        for at in ("p99",)
    }
    for rate in rates:
        peers[rate]["live_p50_ms"] = _median([o for o in runs if o.job == "quix" and o.rate == rate], "live", "p50")
    has_peer = any(run.job == "quix" for run in runs)
    return {
        "name": "freshness",
        "machine": machine,
        "figures": figures,
        "goals": GOALS,
        "missed": missed(figures),
        "peer": {"name": "Quix Streams current()", **peers} if has_peer else None,
        "ratio": {rate: _ratio(figures[rate].get("live_p99_ms"), peers[rate]["live_p99_ms"]) for rate in rates}
        if has_peer
        else None,
        "notes": NOTES,
        "runs": msgspec.to_builtins(runs),
    }


def missed(figures: dict[str, dict[str, float]]) -> list[str]:
    """Name the figures above their goal, those with the sinks included."""
    return [
        f"{key} at {rate}/s: {values[key]:g} > {goal}"
        for rate, values in figures.items()
        for name, goal in GOALS.items()
        for key in (name, name.replace("_p99", "_with_sinks_p99"))
        if values.get(key, 0.0) > goal
    ]


def _median(runs: list[Run], name: str, at: str) -> float | None:
    found = [value for run in runs if (value := getattr(run, name).get(f"{at}_ms")) is not None]
    return round(float(median(found)), 2) if found else None


def _ratio(ours: float | None, peer: float | None) -> float | None:
    return round(ours / peer, 2) if ours and peer else None


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title="freshness: p50 / p99 in ms, medians of the runs", title_justify="left")
    columns = ("trades/s", "job", "live", "not held back", "with the throttle", "forecast", "worker cores", "runs")
    for name in columns:
        table.add_column(name, justify="left" if name == "job" else "right", no_wrap=True)
    runs = msgspec.convert(result["runs"], list[Run])
    for rate in result["figures"]:
        for job in ("plain", "sinks", "quix"):
            mine = [run for run in runs if run.job == job and run.rate == rate]
            if mine:
                cells = [_pair(mine, name) for name in ("live", "live_unheld", "live_with_throttle", "forecast")]
                cores = f"{median(run.load.worker_cores for run in mine):.2f}"
                table.add_row(rate, job, *cells, cores, str(len(mine)))
    console.print(table)
    console.print(f"[dim]{one_line(result['machine'])}[/dim]", highlight=False)
    goals = ", ".join(f"{name} {goal}" for name, goal in result["goals"].items())
    console.print(f"goals: {goals}; " + ("; ".join(result["missed"]) or "all met"), highlight=False)


def _pair(runs: list[Run], name: str) -> str:
    p50, p99 = _median(runs, name, "p50"), _median(runs, name, "p99")
    return "-" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f}"
