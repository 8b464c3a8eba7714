"""Two workers against one on the same full topic."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import msgspec

from redpanda.topics import CANDLES, FEATURES
from tables.records import DAY_MS, MINUTE_MS
from tests.bench import machine
from tests.bench.scale_memory import enveloped
from tests.bench.stack import BenchError, Child, Stack
from tests.bench.synthetic import Walk, balanced_pairs, minutes
from tests.support.waiting import wait_for

__all__ = ["Job", "WorkersRun", "measure"]

STAGES = "candles,features"
SESSION_S = 60
"""The workers are stopped while the topic is filled: that must not cost them their partitions."""
READY_S = 120.0


class Job(msgspec.Struct, frozen=True):
    """What is to be folded."""

    pairs: int
    minutes: int
    per_minute: int
    """Trades of a pair (1/min)."""
    envelope: int
    """Trades a record (count)."""

    @property
    def trades(self) -> int:
        return self.pairs * self.minutes * self.per_minute


class WorkersRun(msgspec.Struct, frozen=True):
    """One or two workers over the whole topic."""

    workers: int
    trades: int
    seconds: float
    """From the signal to go on to the append time of the last output record."""
    worker_cpu_s: float
    """Processor time of all workers together."""
    broker_cpu_s: float
    candles: int
    features: int
    crowded: float
    """Share of the time in which some process was ready and had no core."""
    busy_cores: float
    """Cores that others kept busy just before the run."""


def measure(
    stack: Stack, workers: int, job: Job, wait_quiet_s: float, tell: Callable[[str, float, float], None]
) -> WorkersRun:
    """Start the workers on empty topics, stop them (SIGSTOP) while the topic fills, and let them go at once.

    So every worker has its partitions and its program loaded, and all trades are there, when the clock starts.
    """
    label = f"{workers} worker{'s' * (workers > 1)}"
    stack.fill(iter(()), lambda _: None)
    stack.reset()
    with ExitStack() as parts:
        children: dict[str, Child] = {}
        for name in map(str, range(workers)):
            child = stack.worker("", STAGES, name, TICKCAST_SESSION_TIMEOUT_S=str(SESSION_S))
            parts.callback(child.stop)
            parts.callback(child.signal, signal.SIGCONT)  # a stopped one does not hear that it shall end
            children[name] = child
        _wait(lambda: _shares(stack, children) == [stack.broker.partitions // workers] * workers, "share the topic")
        for child in children.values():
            child.signal(signal.SIGSTOP)
        _fill(stack, job, lambda done: tell(f"{label}: fill the topic", done, job.trades))
        busy = machine.busy_cores(min(wait_quiet_s, SESSION_S / 4))
        before, waited_s, begun_ns = _cpu(stack, children), machine.waited_s(), time.time_ns()
        for child in children.values():
            child.signal(signal.SIGCONT)
        next(iter(children.values())).wait_until(
            partial(_folded, stack, children), job.trades, lambda done: tell(label, done, job.trades)
        )
        _wait(lambda: _is_drained(stack, children), "come to the end")
        end_ms = max(stack.last_append_ms(topic) for topic in (CANDLES, FEATURES))
        span_s = time.time() - begun_ns / 1e9
        used = [now - then for now, then in zip(_cpu(stack, children), before, strict=True)]
        return WorkersRun(
            workers,
            job.trades,
            round(end_ms / 1e3 - begun_ns / 1e9, 3),
            round(used[0], 2),
            round(used[1], 2),
            stack.records(CANDLES),
            stack.records(FEATURES),
            round((machine.waited_s() - waited_s) / span_s, 3),
            busy,
        )


def _fill(stack: Stack, job: Job, tell: Callable[[float], None]) -> None:
    pairs = balanced_pairs(job.pairs, stack.broker.partitions)
    start_ns = (int(time.time()) // 86_400 * DAY_MS - DAY_MS - job.minutes * MINUTE_MS) * 1_000_000
    trades = minutes(Walk(pairs, seed=1), pairs, start_ns, job.minutes, job.per_minute)
    stack.add(enveloped(trades, job.envelope), tell)


def _cpu(stack: Stack, children: dict[str, Child]) -> tuple[float, float]:
    return sum(machine.cpu_s(child.pid) for child in children.values()), machine.cpu_s(stack.broker_pid)


def _shares(stack: Stack, children: dict[str, Child]) -> list[int]:
    """Count the partitions of `trades` that each worker says it has."""
    found = []
    for name, child in children.items():
        child.check()
        status = stack.status(child, name)
        places = status.detail.get("partitions") if status is not None and status.state == "live" else None
        found.append(sum(place.startswith("trades-") for place in places) if isinstance(places, dict) else -1)
    return found


def _folded(stack: Stack, children: dict[str, Child]) -> int:
    for child in children.values():
        child.check()
    statuses = [stack.status(child, name) for name, child in children.items()]
    return sum(status.counters.get("trades", 0) for status in statuses if status is not None)


def _is_drained(stack: Stack, children: dict[str, Child]) -> bool:
    for name, child in children.items():
        child.check()
        status = stack.status(child, name)
        if status is None or status.counters.get("lag") != 0:
            return False
    return True


def _wait(condition: Callable[[], bool], what: str) -> None:
    try:
        wait_for(condition, READY_S, every_s=0.25)
    except AssertionError:
        raise BenchError(f"the workers did not {what} in {READY_S:g} s") from None
