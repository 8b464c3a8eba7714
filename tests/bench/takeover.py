"""Back to work: seconds until a worker is ready with its folder intact, after a kill, and until another takes over.

Real workers (stages candles and features) on a real broker with full tables. Ready is what `/health/ready` says;
a takeover is done when the worker that is left has every partition and has folded what came since the kill.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.worker_settings import WorkerSettings
from redpanda.local.checks import free_port
from tables.records import DAY_MS, MINUTE_MS
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.stack import BenchError, Child, Stack, running
from tests.bench.synthetic import Walk, balanced_pairs, minutes
from tests.support.pages import ask
from tests.support.waiting import wait_for

STAGES: Final = "candles,features"
LIMIT_S: Final = 120.0
LOOK_S: Final = 0.02
GOALS_S: Final = {"intact": 5.0, "killed": 15.0, "takeover": 15.0}
ABOUT: Final = {
    "intact": "stopped in order, started on its folder",
    "killed": "killed, started at once on its folder",
    "takeover": "one of two killed, the other has it all",
}


class Run(msgspec.Struct, frozen=True):
    """One start or takeover."""

    kind: str
    """A key of `ABOUT`."""
    seconds: float
    busy_cores: float
    """Cores that others kept busy just before the run."""


class Node:
    """One worker with its name and port."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._stack = stack
        self.name = name
        self._port = free_port()
        self.child: Child = stack.worker("", STAGES, name, TICKCAST_WORKER_PORT=str(self._port))

    def is_ready(self) -> bool:
        """Tell whether the worker's page says so."""
        self.child.check()
        return ask(self._port, "/health/ready")[0] == 200

    def trades(self) -> int:
        """Count the trades that it has folded since its start."""
        self.child.check()
        status = self._stack.status(self.child, self.name)
        return status.counters.get("trades", 0) if status is not None else 0

    def partitions(self) -> int:
        """Count the partitions of `trades` that it has."""
        status = self._stack.status(self.child, self.name)
        places = status.detail.get("partitions") if status is not None else None
        return sum(place.startswith("trades-") for place in places) if isinstance(places, dict) else 0

    def kill(self) -> None:
        """Let it end without a goodbye."""
        self.child.signal(signal.SIGKILL)


def until(condition: Callable[[], bool], what: str) -> float:
    """Wait and give the seconds it took; BenchError where it takes two minutes."""
    started_s = time.monotonic()
    try:
        wait_for(condition, LIMIT_S, every_s=LOOK_S)
    except AssertionError:
        raise BenchError(f"no worker {what} within {LIMIT_S:g} s") from None
    return time.monotonic() - started_s


class Bench:
    """The runs on one stack."""

    def __init__(self, stack: Stack, asked: argparse.Namespace, tell: Callable[[str], None]) -> None:
        self._stack, self._asked, self._tell = stack, asked, tell
        self._pairs = balanced_pairs(asked.pairs, stack.broker.partitions)
        self._walk = Walk(self._pairs, seed=1)
        self._at_ns = (int(time.time()) // 86_400 * DAY_MS - 2 * DAY_MS) * 1_000_000
        self.runs: list[Run] = []

    def _more(self, count: int) -> int:
        """Put so many minutes of trades behind the others; gives the number of trades."""
        trades = minutes(self._walk, self._pairs, self._at_ns, count, 2)
        sent = [(trade.pair, [trade]) for trade in trades]
        self._at_ns += count * MINUTE_MS * 1_000_000
        self._stack.add(iter(sent))
        return len(sent)

    def _note(self, kind: str, seconds: float, busy: float) -> None:
        self.runs.append(Run(kind, round(seconds, 3), busy))

    def fill(self) -> None:
        """Fill the tables once."""
        self._tell("fill the tables")
        self._stack.fill(iter(()), lambda _: None)
        self._stack.reset()
        trades = self._more(self._asked.minutes)
        node = Node(self._stack, "0")
        try:
            until(node.is_ready, "was ready")
            node.child.wait_until(node.trades, trades, lambda _: None)
        finally:
            node.child.stop()

    def starts(self) -> None:
        """Stop in order and start; kill and start."""
        for kind in ("intact", "killed"):
            self._tell(ABOUT[kind])
            busy = machine.busy_cores(self._asked.wait_s)
            if kind == "killed":
                doomed = Node(self._stack, "0")
                until(doomed.is_ready, "was ready")
                doomed.kill()
            node = Node(self._stack, "0")
            try:
                self._note(kind, until(node.is_ready, "was ready"), busy)
            finally:
                node.child.stop()

    def takeover(self) -> None:
        """Kill one of two."""
        self._tell(ABOUT["takeover"])
        busy = machine.busy_cores(self._asked.wait_s)
        half = self._stack.broker.partitions // 2
        with ExitStack() as parts:
            nodes = [Node(self._stack, name) for name in ("0", "1")]
            for node in nodes:
                parts.callback(node.child.stop)
            until(lambda: [node.partitions() for node in nodes] == [half] * 2, "had half of the partitions")
            until(lambda: all(node.is_ready() for node in nodes), "was ready")
            before = nodes[0].trades()
            nodes[1].kill()
            killed_s = time.monotonic()
            more = self._more(1)
            every = self._stack.broker.partitions
            until(
                lambda: nodes[0].trades() - before >= more and nodes[0].partitions() == every,
                "had taken over",
            )
            self._note("takeover", time.monotonic() - killed_s, busy)


def assemble(runs: list[Run]) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    by_kind = {kind: [run.seconds for run in runs if run.kind == kind] for kind in ABOUT}
    return {
        "name": "takeover",
        "machine": machine.describe(),
        "figures": {f"{kind}_s": round(median(found), 2) for kind, found in by_kind.items() if found},
        "slowest": {f"{kind}_s": round(max(found), 2) for kind, found in by_kind.items() if found},
        "peer": None,
        "ratio": None,
        "notes": {"goals_s": GOALS_S, "session_timeout_s": WorkerSettings().session_timeout_s, **ABOUT},
        "runs": msgspec.to_builtins(runs),
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    session_s = found["notes"]["session_timeout_s"]
    table = Table(title=f"back to work (s), session time-out {session_s:g} s", title_justify="left")
    for name in ("what", "median", "slowest", "goal"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for kind, what in ABOUT.items():
        key = f"{kind}_s"
        table.add_row(what, f"{found['figures'][key]}", f"{found['slowest'][key]}", f"< {GOALS_S[kind]:g}")
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=takeover", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--pairs", type=int, default=100, help="pairs in the tables (100)")
    parser.add_argument("--minutes", type=int, default=300, help="minutes of trades in them (300)")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "takeover.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def measure(asked: argparse.Namespace, console: Console) -> list[Run]:
    """Do all runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder,
        Progress(*columns, console=console, transient=True, refresh_per_second=1) as progress,
        running(Path(folder), with_store=False) as stack,
    ):
        task = progress.add_task("start the broker", total=asked.runs)
        bench = Bench(stack, asked, lambda text: progress.update(task, description=text))
        bench.fill()
        for _ in range(asked.runs):
            bench.starts()
            bench.takeover()
            progress.advance(task)
        return bench.runs


def main() -> int:
    asked = options()
    return finish(lambda console: assemble(measure(asked, console)), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
