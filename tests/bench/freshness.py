"""Freshness: how old a trade is when its live candle is seen, and how long after its close a candle's forecast is.

A worker of its own for each run; trades come in real time from a process that uses the ingest's publisher, and a
reading process notes when records are seen. Event time runs faster than wall time, so that a minute closes every
second or so; all of it lies in the past. A run in which a trade is in no live candle, or a candle lacks a forecast,
does not count: the benchmark fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from agents.candles import LIVE_EVERY_S
from app.settings import DEFAULT_PAIRS
from ml.registry import Registry
from ml.settings import MlSettings
from redpanda.admin import last_by_key, last_records
from redpanda.errors import TickcastError
from redpanda.topics import CANDLES, CANDLES_LIVE, FEATURES, FORECASTS, TRADES
from tables.candles import CandleRules
from tables.records import Candle
from tests.bench import freshness_result, machine, probe
from tests.bench.freshness_result import Run
from tests.bench.latency import summary
from tests.bench.pace import Plan
from tests.bench.phases import Appended, Produced, forecasts_of, forecasts_seen, live_of, live_seen, one_each, produced
from tests.bench.result import RESULTS, write
from tests.bench.stack import BenchError, Child, Stack, running
from tests.bench.synthetic import Walk, minutes
from tests.support.waiting import wait_for

PAIRS = list(DEFAULT_PAIRS)
HISTORY_MINUTES = 200
"""More than the warm-up of the features, and enough to fill the candle row."""
HISTORY_PER_MINUTE = 6
SPEED = {1.0: 15.0}
"""At one trade a second each of the four pairs trades every 4 s: then a minute takes 4 s, else 1 s."""
FASTEST = 60.0
MAX_SPAN_S = 5 * 86_400
"""Event times lie less than this back: beyond a week a pair that is silent counts as ended."""
LINGER_MS = 10
SETTLE_S = 30.0
QUICK = ["--rates", "20,200", "--seconds", "4,4", "--runs", "1", "--variants", "plain", "--peer-runs", "0"]


class Bench:
    """The runs on one stack, and their progress."""

    def __init__(self, stack: Stack, registry_uri: str, asked: argparse.Namespace, progress: Progress) -> None:
        self.runs: list[Run] = []
        self._stack = stack
        self._uri = registry_uri
        self._asked = asked
        self._progress = progress
        self._rates = dict(zip(asked.rates, asked.seconds, strict=True))
        self._folder = stack.home / "phases"
        self._folder.mkdir(exist_ok=True)

    @contextmanager
    def _step(self, label: str, total: float) -> Iterator[Callable[[float], None]]:
        task = self._progress.add_task(label, total=total)
        yield lambda done: self._progress.update(task, completed=done)
        self._progress.remove_task(task)

    def _history(self) -> tuple[Walk, int]:
        """Fill `trades` with what warms the features up; gives the walk and the event time that follows."""
        span_s = HISTORY_MINUTES * 60 + sum(s * _speed(rate) for rate, s in self._rates.items())
        if span_s + 86_400 > MAX_SPAN_S:
            raise BenchError("the phases span too much event time: lower --seconds")
        walk = Walk(PAIRS, self._asked.seed)
        start_s = int(time.time() - span_s - 86_400) // 60 * 60
        trades = minutes(walk, PAIRS, start_s * 1_000_000_000, HISTORY_MINUTES, HISTORY_PER_MINUTE)
        self._stack.fill(((trade.pair, [trade]) for trade in trades), lambda _: None)
        self._stack.reset()
        return walk, (start_s + HISTORY_MINUTES * 60) * 1_000_000_000

    def _read(self, topics: list[str]) -> tuple[Child, Path]:
        out = self._folder / "seen"
        out.with_suffix(".ready").unlink(missing_ok=True)
        broker = self._stack.broker
        command = ["-m", "tests.bench.probe", broker.broker_url, str(out), str(broker.partitions), *topics]
        reader = Child(command, {}, self._folder / "probe.log")
        try:
            wait_for(out.with_suffix(".ready").exists, SETTLE_S)
        except AssertionError:
            reader.stop()
            raise BenchError(
                f"the measuring reader did not start:\n{(self._folder / 'probe.log').read_text()}"
            ) from None
        return reader, out

    def _phase(self, rate: float, walk: Walk, start_ns: int, label: str) -> tuple[list[Produced], float]:
        """Publish one phase in real time."""
        seconds = self._rates[rate]
        out = self._folder / f"{rate:g}.npz"
        plan = Plan(
            self._stack.broker.broker_url,
            PAIRS,
            rate,
            seconds,
            _speed(rate),
            start_ns,
            walk.next_ids,
            self._asked.seed + len(self.runs),
            LINGER_MS,
            str(out),
        )
        file = self._folder / "plan.json"
        file.write_bytes(msgspec.json.encode(plan))
        with self._step(f"{label}, {rate:g} trades/s", seconds) as tell:
            start_s = time.monotonic()
            pacer = Child(["-m", "tests.bench.pace", str(file)], {}, self._folder / "pace.log")
            try:
                pacer.finish(2 * seconds + 60, lambda: tell(time.monotonic() - start_s))
            finally:
                pacer.stop()
        trades, behind_ms = produced(out, PAIRS)
        for one in trades:
            walk.next_ids[one.pair] = int(one.trade_id[-1]) + 1
        return trades, behind_ms

    def ours(self, variant: str, label: str) -> None:
        """Run one worker through all rates."""
        walk, start_ns = self._history()
        busy = machine.busy_cores(self._asked.wait_quiet_s)
        stages = "candles,features,predictor" + (",sinks" if variant == "sinks" else "")
        database = f"bench_{len(self.runs)}"
        if variant == "sinks":
            self._stack.database(database).close()
        worker = self._stack.worker(database, stages, TICKCAST_MLFLOW_URI=self._uri)
        reader = None
        try:
            with self._step(f"{label}: history", sum(walk.next_ids.values()) - len(PAIRS)) as tell:
                worker.wait_until(lambda: self._folded(worker), sum(walk.next_ids.values()) - len(PAIRS), tell)
            wait_for(lambda: self._is_ready(worker), SETTLE_S)
            reader, out = self._read([CANDLES_LIVE, FORECASTS])
            phases = []
            for rate, seconds in self._rates.items():
                before = self._cpu_s(worker.pid)
                phase = self._phase(rate, walk, start_ns, label)
                self._settle(worker, walk)
                used = [now - then for now, then in zip(self._cpu_s(worker.pid), before, strict=True)]
                phases.append((rate, phase, used))
                start_ns += math.ceil(seconds * _speed(rate) + 120) * 1_000_000_000
            reader.stop()
            self._take(variant, phases, probe.read(out), busy)
        finally:
            worker.stop()
            if reader is not None:
                reader.stop()

    def _folded(self, worker: Child) -> int:
        status = self._stack.status(worker)
        return status.counters.get("trades", 0) if status else 0

    def _is_ready(self, worker: Child) -> bool:
        worker.check()
        status = self._stack.status(worker)
        return bool(status and status.counters.get("lag") == 0 and len(status.detail.get("champions") or ()) == 3)  # type: ignore[arg-type]  # a dict

    def _settle(self, worker: Child, walk: Walk) -> None:
        """Wait until the live candle of each pair shows its last trade, and nothing waits in the worker."""
        decode = msgspec.json.Decoder(Candle).decode

        def settled() -> bool:
            newest = last_by_key(self._stack.broker, CANDLES_LIVE, [pair.encode() for pair in PAIRS])
            seen = {pair.decode(): decode(row.value or b"").last_trade_id for pair, row in newest.items()}
            return all(seen.get(pair) == following - 1 for pair, following in walk.next_ids.items())

        try:
            wait_for(settled, SETTLE_S, every_s=0.5)
            wait_for(lambda: self._is_ready(worker), SETTLE_S)
        except AssertionError:
            raise BenchError("the worker did not come to an end with the trades of a phase") from None

    def _cpu_s(self, pid: int) -> tuple[float, float]:
        """Processor time of the worker and of the broker so far (s)."""
        return machine.cpu_s(pid), machine.cpu_s(self._stack.broker_pid)

    def _take(self, variant: str, phases: list[Any], seen: list[probe.Seen], busy: float) -> None:
        live, forecasts = live_seen(seen), forecasts_seen(seen)
        everything = 10**9
        logs = [last_records(self._stack.broker, topic, everything) for topic in (TRADES, CANDLES, FEATURES)]
        appended = Appended.of(*([row for rows in log.values() for row in rows] for log in logs))
        for rate, (trades, behind_ms), (worker_s, broker_s) in phases:
            try:
                found = live_of(trades, live, LIVE_EVERY_S * 1e3)
                made, steps = forecasts_of(trades, forecasts, CandleRules().lateness_ms, 3, appended)
            except ValueError as error:
                raise BenchError(f"{variant} at {rate:g} trades/s: {error}") from error
            self.runs.append(
                Run(
                    job=variant,
                    rate=f"{rate:g}",
                    trades=sum(len(one.trade_id) for one in trades),
                    live=summary(found.above_throttle_ms),
                    live_unheld=summary(found.total_ms[found.unheld]),
                    live_with_throttle=summary(found.total_ms),
                    forecast=summary(made),
                    steps={name: summary(hop) for name, hop in steps.items()},
                    worker_cores=round(worker_s / self._rates[rate], 3),
                    broker_cores=round(broker_s / self._rates[rate], 3),
                    pacer_behind_p99_ms=behind_ms,
                    busy_cores=busy,
                )
            )

    def peer(self, label: str) -> None:
        """Run Quix Streams through all rates on the same kind of trades."""
        walk, start_ns = self._history()
        output, folder = "quix-current", self._stack.home / "run"
        self._stack.create_topic(output)
        busy = machine.busy_cores(self._asked.wait_quiet_s)
        command = [
            "-m",
            "tests.bench.quix_peer",
            self._stack.broker.broker_url,
            output,
            str(folder),
            "current",
            "prompt",
        ]
        quix = Child(command, {}, folder / "quix.log")
        reader = None
        try:
            total = sum(walk.next_ids.values()) - len(PAIRS)
            with self._step(f"{label}: history", total) as tell:
                quix.wait_until(lambda: self._stack.records(output), total, tell)
            reader, out = self._read([output])
            phases = []
            for rate, seconds in self._rates.items():
                before = self._cpu_s(quix.pid)
                trades, behind_ms = self._phase(rate, walk, start_ns, label)
                total += sum(len(one.trade_id) for one in trades)
                quix.wait_until(lambda: self._stack.records(output), total, lambda _: None)
                used = [now - then for now, then in zip(self._cpu_s(quix.pid), before, strict=True)]
                phases.append((rate, trades, behind_ms, used))
                start_ns += math.ceil(seconds * _speed(rate) + 120) * 1_000_000_000
            reader.stop()
            seen = probe.read(out)
        finally:
            quix.stop()
            if reader is not None:
                reader.stop()
        skip: dict[str, int] = {}
        for rate, trades, behind_ms, used in phases:
            found = summary(one_each(trades, seen, skip))
            for one in trades:
                skip[one.pair] = skip.get(one.pair, 0) + len(one.trade_id)
            worker_cores, broker_cores = (round(spent / self._rates[rate], 3) for spent in used)
            self.runs.append(
                Run(
                    "quix",
                    f"{rate:g}",
                    int(found["n"]),
                    found,
                    {},
                    found,
                    {},
                    {},
                    worker_cores,
                    broker_cores,
                    behind_ms,
                    busy,
                )
            )


def _speed(rate: float) -> float:
    return SPEED.get(rate, FASTEST)


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
            bench = Bench(stack, uri, asked, progress)
            for at in range(asked.runs):
                for variant in asked.variants:
                    bench.ours(variant, f"{variant}, run {at + 1} of {asked.runs}")
                if at < asked.peer_runs:
                    bench.peer(f"Quix, run {at + 1} of {asked.peer_runs}")
    return freshness_result.assemble(machine.describe(), bench.runs)


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 110)
    asked = options()
    # `timeout` and CI end a benchmark this way: stop the broker, the store and the worker first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = run(asked, console)
    except (BenchError, TickcastError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 1
    write(found, asked.out)
    freshness_result.show(found, console)
    console.print(f"written to {asked.out}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
