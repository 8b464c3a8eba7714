"""Scale: memory and state against the number of pairs, and two workers against one.

Memory is that of a real worker whose rows are full; a line through the figures tells what a pair costs, and the
benchmark fails where the last stretch is steeper than the rest. Two workers share a topic that is already full.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import machine, scale_memory, scale_workers
from tests.bench.command import finish
from tests.bench.result import RESULTS
from tests.bench.scale_memory import MemoryRun, straight
from tests.bench.scale_workers import Job, WorkersRun
from tests.bench.stack import BenchError, running

MEMORY = ("rss_mb", "rss_restarted_mb", "rss_peak_mb", "rocksdb_mb")
SPEEDUP_GOAL = 1.7
NOTES = {
    "unit": "MB are 10^6 bytes; medians of the runs",
    "rss_mb": "resident memory of a worker (stages candles, features; 4 partitions) that has folded a history that "
    "fills every window of its rows at full speed and then takes 1 trade a pair and second; rss_restarted_mb: of the "
    "next worker on its folder; rss_peak_mb: the highest while the history was folded",
    "rocksdb_mb": "all files of the worker's tables when it has stopped, write-ahead and info logs included",
    "lines": "least squares over the pairs; bend: slope of the last stretch over that of the ones before it. "
    f"superlinear: bend above {scale_memory.LIMIT} and more than {scale_memory.NOISE_MB:g} MB beyond them",
    "speedup_2_workers": "seconds of one worker over seconds of two on the same full topic, from the signal to go on "
    "to the append time of the last output record; each worker has half the partitions, the same number of pairs and "
    "trades each. The broker's JVM shares the cores with them: `cores_needed` is what both workers and the broker "
    "would take at twice the speed of one worker, and above the machine's cores that speed cannot be had there.",
    "speedup_by_cpu": "twice the processor time of one worker over that of two together: the scaling on cores enough",
}


def assemble(described: dict[str, object], memory: list[MemoryRun], workers: list[WorkersRun]) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    counts = sorted({run.pairs for run in memory})
    figures: dict[str, Any] = {
        name: {
            str(count): round(median(getattr(run, name) for run in memory if run.pairs == count), 1) for count in counts
        }
        for name in MEMORY
    }
    lines = {
        name: msgspec.to_builtins(straight({int(count): value for count, value in figures[name].items()}))
        for name in MEMORY
        if len(counts) > 1
    }
    return {
        "name": "scale",
        "machine": described,
        "figures": {**_speedup(workers), **figures},
        "lines": lines,
        "superlinear": [name for name, line in lines.items() if line["superlinear"]],
        "peer": None,
        "ratio": None,
        "notes": NOTES,
        "runs": {"memory": msgspec.to_builtins(memory), "workers": msgspec.to_builtins(workers)},
    }


def _speedup(runs: list[WorkersRun]) -> dict[str, float | None]:
    one, two = ([run for run in runs if run.workers == count] for count in (1, 2))
    if not one or not two:
        return {"speedup_2_workers": None}
    seconds, cpu_s, broker_s = (
        [median(getattr(run, name) for run in some) for some in (one, two)]
        for name in ("seconds", "worker_cpu_s", "broker_cpu_s")
    )
    return {
        "speedup_2_workers": round(seconds[0] / seconds[1], 2),
        "speedup_by_cpu": round(2 * cpu_s[0] / cpu_s[1], 2),
        "cores_needed": round(2 * (cpu_s[1] + broker_s[1]) / seconds[0], 2),
        "trades_per_s_1_worker": round(one[0].trades / seconds[0]),
        "trades_per_s_2_workers": round(two[0].trades / seconds[1]),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as two tables with the machine under them."""
    figures, runs = result["figures"], result["runs"]
    if runs["memory"]:
        table = Table(title="scale: one worker, MB", title_justify="left")
        for name in ("pairs", *MEMORY):
            table.add_column(name, justify="right", no_wrap=True)
        for count in figures["rss_mb"]:
            table.add_row(count, *(f"{figures[name][count]:.1f}" for name in MEMORY))
        for key, label in (("per_pair_kb", "kB a pair"), ("worst_residual_mb", "off the line"), ("bend", "bend")):
            if result["lines"]:
                table.add_row(label, *(str(result["lines"][name][key]) for name in MEMORY))
        console.print(table)
    if runs["workers"]:
        table = Table(title="scale: one topic, one worker and two", title_justify="left")
        for name in ("workers", "trades/s", "seconds", "worker cpu s", "broker cpu s", "crowded", "runs"):
            table.add_column(name, justify="right", no_wrap=True)
        for count in (1, 2):
            mine = [run for run in runs["workers"] if run["workers"] == count]
            names = ("seconds", "worker_cpu_s", "broker_cpu_s", "crowded")
            cells = [f"{median(run[name] for run in mine):.2f}" for name in names]
            speed = figures["trades_per_s_1_worker" if count == 1 else "trades_per_s_2_workers"]
            table.add_row(str(count), f"{speed:,}", *cells, str(len(mine)))
        console.print(table)
        console.print(
            f"speed-up {figures['speedup_2_workers']} (goal {SPEEDUP_GOAL}), by processor time "
            f"{figures['speedup_by_cpu']}; cores needed for 2.0: {figures['cores_needed']}",
            highlight=False,
        )
    console.print(f"[dim]{machine.one_line(result['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(prog="make bench NAME=scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=numbers, default=[4, 100, 300, 1000], help="(4,100,300,1000; empty for none)")
    parser.add_argument("--minutes", type=int, default=1_440, help="whole minutes of history of each pair (1440)")
    parser.add_argument("--live-s", type=float, default=15, help="length of the live load (15)")
    parser.add_argument("--memory-runs", type=int, help="runs of each number of pairs (as --runs)")
    parser.add_argument("--runs", type=int, default=5, help="runs of one worker and of two (5)")
    parser.add_argument("--trades", type=int, default=1_000_000, help="trades of the shared topic (1,000,000)")
    parser.add_argument("--envelope", type=int, default=5, help="trades a record of the shared topic (5)")
    parser.add_argument("--per-minute", type=int, default=40, help="trades of a pair and minute there (40)")
    parser.add_argument(
        "--wait-quiet-s", type=float, default=60, help="at most, before a run, for a quiet machine (60)"
    )
    parser.add_argument("--quick", action="store_true", help="small numbers: a look whether it works")
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json", help="where the JSON goes")
    asked = parser.parse_args(arguments)
    if asked.quick:
        small = ["--pairs", "4,12", "--minutes", "20", "--live-s", "2", "--runs", "1", "--trades", "20000"]
        asked = parser.parse_args([*small, *(arguments if arguments is not None else sys.argv[1:])])
    if asked.memory_runs is None:
        asked.memory_runs = asked.runs
    return asked


def run(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the benchmark and give its result."""
    memory: list[MemoryRun] = []
    workers: list[WorkersRun] = []
    job = Job(
        pairs=8, minutes=asked.trades // (8 * asked.per_minute), per_minute=asked.per_minute, envelope=asked.envelope
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder,
        Progress(*columns, console=console, transient=True, refresh_per_second=2) as progress,
    ):
        task = progress.add_task("start the broker", total=None)

        def telling(prefix: str) -> Callable[[str, float, float], None]:
            return lambda what, done, total: progress.update(
                task, description=f"{prefix}, {what}", completed=done, total=total
            )

        with running(Path(folder), with_store=False) as stack:
            for at in range(asked.runs):
                tell = telling(f"run {at + 1} of {asked.runs}")
                workers += [scale_workers.measure(stack, count, job, asked.wait_quiet_s, tell) for count in (1, 2)]
                _same_outputs(workers[-2:])
            for at in range(asked.memory_runs):
                tell = telling(f"run {at + 1} of {asked.memory_runs}")
                memory += [
                    scale_memory.measure(stack, count, asked.minutes, asked.live_s, tell) for count in asked.pairs
                ]
    return assemble(machine.describe(), memory, workers)


def _same_outputs(runs: list[WorkersRun]) -> None:
    """Two workers must have made what one made."""
    if len({(run.candles, run.features) for run in runs}) > 1:
        told = ", ".join(f"{run.workers}: {run.candles:,} candles and {run.features:,} features" for run in runs)
        raise BenchError(f"the outputs differ by the number of workers: {told}")


def _fault(found: dict[str, Any]) -> str:
    grows = found["superlinear"]
    return f"grows faster than the pairs: {', '.join(grows)}" if grows else ""


def main() -> int:
    asked = options()
    return finish(lambda console: run(asked, console), show, asked.out, width=110, fault=_fault)


if __name__ == "__main__":
    sys.exit(main())
