"""Memory and state on disk of one worker against the number of its pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import psutil

from tables.records import DAY_MS, MINUTE_MS, Trade
from tests.bench.pace import Plan
from tests.bench.stack import BenchError, Child, Stack
from tests.bench.synthetic import Walk, balanced_pairs, minutes
from tests.support.waiting import wait_for

__all__ = ["Line", "MemoryRun", "measure", "straight"]

MB = 1_000_000
STAGES = "candles,features"
SPARSE_TRADES = 73
"""Trades a day apart. Each makes one candle of every timeframe: more than the 60 bars that features look back on."""
RULES = {"TICKCAST_SYNTHETIC_GAP_MAX_MS": "0"}
"""Silence stays a gap: else each of them would be filled with 1,440 synthetic minutes."""
ENVELOPE = 50
LIMIT = 1.25
"""So much steeper the last stretch may be than those before it."""
NOISE_MB = 5.0
READY_S = 120.0


class MemoryRun(msgspec.Struct, frozen=True):
    """One worker with so many pairs (MB are 10^6 bytes)."""

    pairs: int
    rss_mb: float
    """After it has folded the history and then 1 trade a pair and second for a while."""
    rss_peak_mb: float
    """Highest seen while it folded the history at full speed."""
    rss_restarted_mb: float
    """Of the next worker on the same folder, after the same live load."""
    rocksdb_mb: float
    """Files of both tables when the worker had stopped."""
    trades: int
    candles: int
    history_s: float


class Line(msgspec.Struct, frozen=True):
    """A straight line through (pairs, value), and whether the values bend upwards from it."""

    per_pair_kb: float
    base_mb: float
    worst_residual_mb: float
    bend: float | None
    """Slope of the last stretch over the slope of those before it; None for fewer than three points."""
    superlinear: bool


def straight(points: dict[int, float]) -> Line:
    """Fit a line by least squares and compare the last stretch with the rest.

    Super-linear is a last stretch that is a quarter steeper and ends `NOISE_MB` above where the rest would lead.
    """
    x, y = np.array(list(points)), np.array(list(points.values()))
    slope, base = np.polyfit(x, y, 1)
    residual = float(np.abs(y - (slope * x + base)).max())
    bend, superlinear = None, False
    if len(points) > 2:
        before = (y[-2] - y[0]) / (x[-2] - x[0])
        last = (y[-1] - y[-2]) / (x[-1] - x[-2])
        above_mb = (last - before) * (x[-1] - x[-2])
        bend = round(float(last / before), 2) if before > 0 else None
        superlinear = bool(above_mb > NOISE_MB and last > LIMIT * before)
    return Line(round(float(slope) * 1e3, 1), round(float(base), 1), round(residual, 1), bend, superlinear)


def history(walk: Walk, pairs: list[str], end_ns: int, dense_minutes: int, per_minute: int) -> Iterator[Trade]:
    """Give what fills every window of every pair: sparse trades for the bars of a day, then whole minutes.

    Event time ends a day or two ago, and nothing of it is late.
    """
    dense_ns = end_ns - dense_minutes * MINUTE_MS * 1_000_000
    for at in range(SPARSE_TRADES, 0, -1):
        for pair in pairs:
            yield walk.trade(pair, dense_ns - at * DAY_MS * 1_000_000)
    yield from minutes(walk, pairs, dense_ns, dense_minutes, per_minute)


def enveloped(trades: Iterator[Trade], size: int) -> Iterator[tuple[str, list[Trade]]]:
    """Fill envelopes of `size` trades a pair, the rests at the end."""
    waiting: dict[str, list[Trade]] = {}
    for trade in trades:
        envelope = waiting.setdefault(trade.pair, [])
        envelope.append(trade)
        if len(envelope) == size:
            yield trade.pair, waiting.pop(trade.pair)
    yield from waiting.items()


class _Watch:
    """The resident memory of a process, sampled whenever somebody asks how far it is."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak_mb = 0.0

    def now_mb(self) -> float:
        with suppress(psutil.NoSuchProcess):
            size_mb: float = self._process.memory_info().rss / MB
            self.peak_mb = max(self.peak_mb, size_mb)
            return size_mb
        return 0.0


def measure(
    stack: Stack, count: int, dense_minutes: int, live_s: float, tell: Callable[[str, float, float], None]
) -> MemoryRun:
    """Let one worker fold the history of `count` pairs, feed it live, stop it, and start the next on its folder.

    Parameters
    ----------
    tell
        Gets what is going on, how far it is, and how far it goes.
    """
    pairs = balanced_pairs(count, stack.broker.partitions)
    walk = Walk(pairs, seed=count)
    end_ns = (int(time.time()) // 86_400 - 1) * DAY_MS * 1_000_000
    total = count * (SPARSE_TRADES + dense_minutes * 2)
    trades = history(walk, pairs, end_ns, dense_minutes, 2)
    label = f"{count} pairs"
    stack.fill(enveloped(trades, ENVELOPE), lambda done: tell(f"{label}: fill the topic", done, total))
    stack.reset()
    begun_s = time.monotonic()
    worker = stack.worker("", STAGES, **RULES)
    try:
        watch = _Watch(worker.pid)

        def folded() -> int:
            watch.now_mb()
            return _counter(stack, worker, "trades")

        worker.wait_until(folded, total, lambda done: tell(f"{label}: fold the history", done, total))
        _drained(stack, worker)
        history_s, peak_mb = time.monotonic() - begun_s, watch.peak_mb
        rss_mb = _live(stack, worker, walk, end_ns, live_s, lambda at_s: tell(f"{label}: live", at_s, live_s))
        candles = _counter(stack, worker, "candles")
    finally:
        worker.stop()
    folder = stack.home / "run" / "worker"
    rocksdb_mb = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MB
    worker = stack.worker("", STAGES, **RULES)
    try:
        _drained(stack, worker)
        after_ns = end_ns + 60 * MINUTE_MS * 1_000_000
        again_mb = _live(stack, worker, walk, after_ns, live_s, lambda at_s: tell(f"{label}: again", at_s, live_s))
    finally:
        worker.stop()
    rss_mb, peak_mb, again_mb, rocksdb_mb = (round(size, 1) for size in (rss_mb, peak_mb, again_mb, rocksdb_mb))
    return MemoryRun(count, rss_mb, peak_mb, again_mb, rocksdb_mb, total, candles, round(history_s, 1))


def _counter(stack: Stack, worker: Child, name: str) -> int:
    status = stack.status(worker)
    return status.counters.get(name, 0) if status else 0


def _drained(stack: Stack, worker: Child) -> None:
    def drained() -> bool:
        worker.check()
        status = stack.status(worker)
        return status is not None and status.state == "live" and status.counters.get("lag") == 0

    try:
        wait_for(drained, READY_S, every_s=0.25)
    except AssertionError:
        raise BenchError("the worker did not become ready, or did not come to the end of its topics") from None


def _live(
    stack: Stack, worker: Child, walk: Walk, start_ns: int, seconds: float, tell: Callable[[float], None]
) -> float:
    """Publish one trade a pair and second in real time; gives the worker's memory after it (MB)."""
    pairs, folder = list(walk.next_ids), stack.home / "run"
    out, file = folder / "live.npz", folder / "plan.json"
    url = stack.broker.broker_url
    plan = Plan(url, pairs, len(pairs), seconds, 1.0, start_ns, walk.next_ids, len(pairs), 10, str(out))
    file.write_bytes(msgspec.json.encode(plan))
    begun_s = time.monotonic()
    pacer = Child(["-m", "tests.bench.pace", str(file)], {}, folder / "pace.log")
    try:
        pacer.finish(3 * seconds + 60, lambda: tell(time.monotonic() - begun_s))
    finally:
        pacer.stop()
    _advance(walk, out, pairs)
    _drained(stack, worker)
    return _Watch(worker.pid).now_mb()


def _advance(walk: Walk, out: Path, pairs: list[str]) -> None:
    with np.load(out) as found:
        for number, trade_id in zip(found["pair"].tolist(), found["trade_id"].tolist(), strict=True):
            walk.next_ids[pairs[number]] = trade_id + 1
