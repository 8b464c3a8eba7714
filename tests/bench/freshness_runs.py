"""The runs of the freshness benchmark: one worker (or the peer) a run, all rates one after the other."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec
from rich.progress import Progress

from agents.candles import LIVE_EVERY_S
from app.settings import DEFAULT_PAIRS
from ml.settings import MlSettings
from redpanda.admin import last_by_key, last_records
from redpanda.topics import CANDLES, CANDLES_LIVE, FEATURES, FORECASTS, TRADES
from tables.candles import CandleRules
from tables.records import Candle
from tests.bench import machine, probe
from tests.bench.freshness_result import Load, Run
from tests.bench.latency import summary
from tests.bench.pace import Plan
from tests.bench.phases import Appended, Produced, forecasts_of, forecasts_seen, live_of, live_seen, one_each, produced
from tests.bench.stack import BenchError, Child, Stack
from tests.bench.synthetic import Walk, minutes
from tests.support.waiting import wait_for

__all__ = ["Runner"]

PAIRS = list(DEFAULT_PAIRS)
HORIZONS = len(MlSettings().horizons_s)
HISTORY_MINUTES = 200
"""More than the warm-up of the features, and enough to fill the candle row."""
HISTORY_PER_MINUTE = 6
SPEED = {1.0: 15.0}
"""At one trade a second each of the four pairs trades every 4 s: then a minute takes 4 s, else 1 s."""
FASTEST = 60.0
BETWEEN_S = 120.0
"""Event time between two phases."""
MAX_SPAN_S = 5 * 86_400
"""Event times lie less than this back: beyond a week a pair that is silent counts as ended."""
LINGER_MS = 10
SETTLE_S = 30.0
ALL = 10**9


class _Phase(msgspec.Struct, frozen=True):
    """One rate in one run."""

    rate: float
    trades: list[Produced]
    behind_ms: float
    load: Load


class Runner:
    """The runs on one stack, and their progress."""

    def __init__(self, stack: Stack, registry_uri: str, asked: argparse.Namespace, progress: Progress) -> None:
        self.runs: list[Run] = []
        self._stack = stack
        self._uri = registry_uri
        self._asked = asked
        self._progress = progress
        self._rates: dict[float, float] = dict(zip(asked.rates, asked.seconds, strict=True))
        self._folder = stack.home / "phases"
        self._folder.mkdir(exist_ok=True)

    @contextmanager
    def _step(self, label: str, total: float) -> Iterator[Callable[[float], None]]:
        task = self._progress.add_task(label, total=total)
        yield lambda done: self._progress.update(task, completed=done)
        self._progress.remove_task(task)

    def _history(self) -> tuple[Walk, int]:
        """Fill `trades` with what warms the features up; gives the walk and the event time that follows (ns)."""
        span_s = HISTORY_MINUTES * 60 + sum(s * _speed(rate) + BETWEEN_S for rate, s in self._rates.items())
        if span_s + 86_400 > MAX_SPAN_S:
            raise BenchError("the phases span too much event time: lower --seconds")
        walk = Walk(PAIRS, self._asked.seed)
        start_s = int(time.time() - span_s - 86_400) // 60 * 60
        trades = minutes(walk, PAIRS, start_s * 1_000_000_000, HISTORY_MINUTES, HISTORY_PER_MINUTE)
        self._stack.fill(((trade.pair, [trade]) for trade in trades), lambda _: None)
        self._stack.reset()
        return walk, (start_s + HISTORY_MINUTES * 60) * 1_000_000_000

    @contextmanager
    def _reading(self, topics: list[str]) -> Iterator[Callable[[], list[probe.Seen]]]:
        """Let the measuring reader run; what is yielded ends it and gives what it saw."""
        out, log = self._folder / "seen", self._folder / "probe.log"
        ready = out.with_suffix(".ready")
        ready.unlink(missing_ok=True)
        broker = self._stack.broker
        command = ["-m", "tests.bench.probe", broker.broker_url, str(out), str(broker.partitions), *topics]
        reader = Child(command, {}, log)
        try:
            try:
                wait_for(ready.exists, SETTLE_S)
            except AssertionError:
                raise BenchError(f"the measuring reader did not start:\n{log.read_text()}") from None

            def end() -> list[probe.Seen]:
                reader.stop()
                return probe.read(out)

            yield end
        finally:
            reader.stop()

    @contextmanager
    def _load(self, pid: int) -> Iterator[Callable[[], Load]]:
        """Measure what the worker and the broker take of the machine meanwhile, and how crowded it is."""
        begun_s = time.monotonic()

        def counts() -> tuple[float, float, float]:
            return machine.cpu_s(pid), machine.cpu_s(self._stack.broker_pid), machine.waited_s()

        before = counts()

        def load() -> Load:
            span_s = time.monotonic() - begun_s
            return Load(*(round((now - then) / span_s, 3) for now, then in zip(counts(), before, strict=True)))

        yield load

    def _phases(self, pid: int, walk: Walk, start_ns: int, label: str, settle: Callable[[], None]) -> list[_Phase]:
        """Publish all rates in real time, one after the other."""
        found = []
        for rate, seconds in self._rates.items():
            with self._load(pid) as load:
                trades, behind_ms = self._phase(rate, walk, start_ns, label)
                taken = load()
            settle()
            found.append(_Phase(rate, trades, behind_ms, taken))
            start_ns += math.ceil(seconds * _speed(rate) + BETWEEN_S) * 1_000_000_000
        return found

    def _phase(self, rate: float, walk: Walk, start_ns: int, label: str) -> tuple[list[Produced], float]:
        seconds, out, file = self._rates[rate], self._folder / f"{rate:g}.npz", self._folder / "plan.json"
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
        total = sum(walk.next_ids.values()) - len(PAIRS)
        busy = machine.busy_cores(self._asked.wait_quiet_s)
        stages = "candles,features,predictor" + (",sinks" if variant == "sinks" else "")
        database = f"bench_{len(self.runs)}"
        if variant == "sinks":
            self._stack.database(database).close()
        with ExitStack() as parts:
            worker = self._stack.worker(database, stages, TICKCAST_MLFLOW_URI=self._uri)
            parts.callback(worker.stop)
            with self._step(f"{label}: history", total) as tell:
                worker.wait_until(lambda: self._folded(worker), total, tell)
            wait_for(lambda: self._is_ready(worker), SETTLE_S)
            end = parts.enter_context(self._reading([CANDLES_LIVE, FORECASTS]))
            phases = self._phases(worker.pid, walk, start_ns, label, lambda: self._settle(worker, walk))
            self._take(variant, phases, end(), busy)

    def _folded(self, worker: Child) -> int:
        status = self._stack.status(worker)
        return status.counters.get("trades", 0) if status else 0

    def _is_ready(self, worker: Child) -> bool:
        worker.check()
        status = self._stack.status(worker)
        if status is None or status.counters.get("lag") != 0:
            return False
        champions = status.detail.get("champions")
        return isinstance(champions, dict) and len(champions) == HORIZONS

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

    def _take(self, variant: str, phases: list[_Phase], seen: list[probe.Seen], busy: float) -> None:
        live, forecasts = live_seen(seen), forecasts_seen(seen)
        logs = [last_records(self._stack.broker, topic, ALL) for topic in (TRADES, CANDLES, FEATURES)]
        appended = Appended.of(*([row for rows in log.values() for row in rows] for log in logs))
        for phase in phases:
            try:
                found = live_of(phase.trades, live, LIVE_EVERY_S * 1e3)
                made, steps = forecasts_of(phase.trades, forecasts, CandleRules().lateness_ms, HORIZONS, appended)
            except ValueError as error:
                raise BenchError(f"{variant} at {phase.rate:g} trades/s: {error}") from error
            self.runs.append(
                Run(
                    job=variant,
                    rate=f"{phase.rate:g}",
                    trades=sum(len(one.trade_id) for one in phase.trades),
                    live=summary(found.above_throttle_ms),
                    live_unheld=summary(found.total_ms[found.unheld]),
                    live_with_throttle=summary(found.total_ms),
                    forecast=summary(made),
                    steps={name: summary(hop) for name, hop in steps.items()},
                    load=phase.load,
                    pacer_behind_p99_ms=phase.behind_ms,
                    busy_cores=busy,
                )
            )

    def peer(self, label: str) -> None:
        """Run Quix Streams through all rates on the same kind of trades."""
        walk, start_ns = self._history()
        output, folder = "quix-current", self._stack.home / "run"
        self._stack.create_topic(output)
        busy = machine.busy_cores(self._asked.wait_quiet_s)
        command = ["-m", "tests.bench.quix_peer", self._stack.broker.broker_url, output, str(folder)]
        with ExitStack() as parts:
            quix = Child([*command, "current", "prompt"], {}, folder / "quix.log")
            parts.callback(quix.stop)

            def settle() -> None:
                total = sum(walk.next_ids.values()) - len(PAIRS)
                with self._step(f"{label}: all answers", total) as tell:
                    quix.wait_until(lambda: self._stack.records(output), total, tell)

            settle()
            end = parts.enter_context(self._reading([output]))
            phases = self._phases(quix.pid, walk, start_ns, label, settle)
            seen = end()
        skip: dict[str, int] = {}
        for phase in phases:
            found = summary(one_each(phase.trades, seen, skip))
            for one in phase.trades:
                skip[one.pair] = skip.get(one.pair, 0) + len(one.trade_id)
            rate, trades = f"{phase.rate:g}", int(found["n"])
            self.runs.append(Run("quix", rate, trades, found, {}, found, {}, {}, phase.load, phase.behind_ms, busy))


def _speed(rate: float) -> float:
    return SPEED.get(rate, FASTEST)
