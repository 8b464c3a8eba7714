"""What the board shows: the status files of all processes, and rates between two looks at them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tables.status import Status, read_status

if TYPE_CHECKING:
    from pathlib import Path

    from app.stack import Stack

__all__ = ["PARTS", "Part", "Snapshot", "Watch", "part_state"]

PARTS = ("broker", "store", "sim", "ingest", "worker", "trainer", "api")
RATED = ("trades", "candles", "features", "forecasts")
RATE_WINDOW_S = 10.0
SILENT_MS = 20_000
"""All write their status each second or two; one that has not for so long hangs, or the machine is very busy (ms)."""


@dataclass(frozen=True)
class Part:
    """One process as a person sees it."""

    name: str
    state: str
    """The word of its status file; or `starting`, `silent`, `restarting`, `done` or `stopped`."""
    rss_mb: float
    crashes: int


@dataclass(frozen=True)
class Snapshot:
    """Everything the board shows at one moment."""

    source: str
    uptime_s: float
    parts: list[Part] = field(default_factory=list)
    statuses: dict[str, Status] = field(default_factory=dict)
    rates_per_s: dict[str, float] = field(default_factory=dict)
    rss_mb: float = 0.0
    rss_peak_mb: float = 0.0
    api_url: str = ""
    home: str = ""
    waiting_for: str = ""
    """What the start waits for, with the last thing it said."""

    def count(self, name: str) -> int:
        """Give a counter of the worker."""
        worker = self.statuses.get("worker")
        return worker.counters.get(name, 0) if worker else 0

    @property
    def dead_letters(self) -> int:
        return sum(status.counters.get("dead_letters", 0) for status in self.statuses.values())

    @property
    def forecasts(self) -> list[dict[str, Any]]:
        """The latest forecast of each pair and horizon, in that order."""
        found = self._worker_detail("forecasts")
        rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
        return sorted(rows, key=lambda row: (str(row.get("pair")), int(row.get("horizon_s", 0))))

    @property
    def first_forecast_at_ms(self) -> int | None:
        found = self._worker_detail("first_forecast_at_ms")
        return found if isinstance(found, int) else None

    @property
    def live_close(self) -> dict[str, float]:
        found = self._worker_detail("live_close")
        return found if isinstance(found, dict) else {}

    def _worker_detail(self, name: str) -> object:
        worker = self.statuses.get("worker")
        return worker.detail.get(name) if worker else None


def part_state(child: str, status: Status | None, now_ms: int, *, settled: bool) -> str:
    """Give the word for a process: what became of it, else what it says, unless it has stopped saying anything.

    Parameters
    ----------
    child
        State of the supervisor's child.
    settled
        Whether it has been running for a while.
    """
    words = {"waiting": "restarting", "ended": "done", "stopped": "stopped"}
    if child in words:
        return words[child]
    if status is None:
        return "live" if settled else "starting"
    return "silent" if settled and now_ms - status.at_ms > SILENT_MS else status.state


class Watch:
    """Takes snapshots of a running stack and keeps what rates need."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._home: Path = stack.home
        self._started_s = time.monotonic()
        self._past: deque[tuple[float, dict[str, int]]] = deque()

    def look(self, waiting_for: str = "") -> Snapshot:
        """Read all status files once."""
        memory = self._stack.supervisor.memory
        statuses = {name: status for name in PARTS if (status := read_status(self._home, name))}
        worker = statuses.get("worker")
        return Snapshot(
            source=self._stack.settings.source,
            uptime_s=time.monotonic() - self._started_s,
            parts=self._parts(statuses),
            statuses=statuses,
            rates_per_s=self._rates(worker.counters if worker else {}),
            rss_mb=memory.sum_mb,
            rss_peak_mb=memory.sum_peak_mb,
            api_url=self._stack.api_url,
            home=str(self._home),
            waiting_for=waiting_for,
        )

    def _parts(self, statuses: dict[str, Status]) -> list[Part]:
        children = self._stack.supervisor.children
        parts = []
        for name in PARTS:
            if (child := children.get(name)) is None:
                continue
            state = part_state(child.state, statuses.get(name), time.time_ns() // 1_000_000, settled=child.settled)
            rss_mb = self._stack.supervisor.memory.now_mb.get(name, 0.0)
            parts.append(Part(name, state, rss_mb, child.crashes))
        return parts

    def _rates(self, counters: dict[str, int]) -> dict[str, float]:
        now_s = time.monotonic()
        self._past.append((now_s, {name: counters.get(name, 0) for name in RATED}))
        while now_s - self._past[0][0] > RATE_WINDOW_S:
            self._past.popleft()
        then_s, then = self._past[0]
        span_s = now_s - then_s
        if span_s <= 0:
            return dict.fromkeys(RATED, 0.0)
        # A restarted worker counts from zero again: no negative rates.
        return {name: max(0.0, (counters.get(name, 0) - then[name]) / span_s) for name in RATED}
