"""Freshness: how old a trade is when its live candle is seen, and how long after its close a candle's forecast is.

A worker of its own for each run; trades come in real time from a process that uses the ingest's publisher, and a
reading process notes when records are seen. Event time runs faster than wall time, so that a minute closes every
second or so; all of it lies in the past. A run in which a trade is in no live candle, or a candle lacks a forecast,
does not count: the benchmark fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ml.registry import Registry
from ml.settings import MlSettings
from tests.bench import freshness_result, machine
from tests.bench.command import finish
from tests.bench.freshness_runs import Runner
from tests.bench.result import RESULTS
from tests.bench.stack import running

QUICK = ["--rates", "20,200", "--seconds", "4,4", "--runs", "1", "--variants", "plain", "--peer-runs", "0"]


def baseline(home: Path) -> str:
    """Make a registry with the first champion of every horizon, as the trainer does; give its URI."""
    registry = Registry(MlSettings(home=home, mlflow_uri=""))
    registry.ensure_baseline(MlSettings().horizons_s)
    return registry.uri


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    def numbers(text: str) -> list[float]:
        return [float(part) for part in text.split(",")]

    def names(text: str) -> list[str]:
        return [part for part in text.split(",") if part]

    parser = argparse.ArgumentParser(prog="make bench NAME=freshness", description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", type=numbers, default=[1.0, 100.0, 5000.0], help="trades/s (1,100,5000)")
    parser.add_argument("--seconds", type=numbers, default=[90.0, 30.0, 30.0], help="length of each (90,30,30)")
    parser.add_argument("--runs", type=int, default=5, help="workers of each variant (5)")
    parser.add_argument(
        "--variants", type=names, default=["plain", "sinks"], help="without and with ClickHouse (plain,sinks)"
    )
    parser.add_argument("--peer-runs", type=int, help="of Quix Streams (as --runs; 0 where it is not installed)")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals and prices (1)")
    parser.add_argument(
        "--wait-quiet-s", type=float, default=60, help="at most, before a run, for a quiet machine (60)"
    )
    parser.add_argument("--quick", action="store_true", help="one short run: a look whether it works")
    parser.add_argument("--out", type=Path, default=RESULTS / "freshness.json", help="where the JSON goes")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked = parser.parse_args([*QUICK, *(arguments if arguments is not None else sys.argv[1:])])
    if len(asked.rates) != len(asked.seconds):
        parser.error("--rates and --seconds must have the same length")
    if asked.peer_runs is None:
        asked.peer_runs = asked.runs if importlib.util.find_spec("quixstreams") else 0
    return asked


def run(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the benchmark and give its result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder,
        Progress(*columns, console=console, transient=True, refresh_per_second=1) as progress,
    ):
        start = progress.add_task("start broker, store and registry", total=None)
        with running(Path(folder), with_store="sinks" in asked.variants) as stack:
            uri = baseline(stack.home / "registry")
            progress.remove_task(start)
            bench = Runner(stack, uri, asked, progress)
            for at in range(asked.runs):
                for variant in asked.variants:
                    bench.ours(variant, f"{variant}, run {at + 1} of {asked.runs}")
                if at < asked.peer_runs:
                    bench.peer(f"Quix, run {at + 1} of {asked.peer_runs}")
    return freshness_result.assemble(machine.describe(), bench.runs)


def main() -> int:
    asked = options()
    return finish(lambda console: run(asked, console), freshness_result.show, asked.out, width=110)


if __name__ == "__main__":
    sys.exit(main())
