"""`/health/live` and `/health/ready` on the worker's web port: 200, or 503 with the reasons as JSON; and `/metrics`."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client import CONTENT_TYPE_LATEST

from agents.chunk_app import ChunkApp
from agents.chunks import ChunkConsumer
from agents.recovery import BatchRecovery
from agents.stage import WorkerState
from app.health import Progress, ProgressWatch
from app.worker_metrics import WorkerFigures, worker_exposition
from app.worker_settings import WorkerSettings

__all__ = ["Health"]

ENDS_EVERY_S: Final = 5.0
ENDS_LIMIT_S: Final = 4.0


class Health:
    """What the two pages say.

    Live is progress: it fails when offsets stand still while records wait. A worker that waits for a store that is
    away, and one in recovery, which has a deadline of its own, are alive. Ready is a worker that processes.
    """

    def __init__(self, app: ChunkApp, state: WorkerState, settings: WorkerSettings) -> None:
        self._app = app
        self._state = state
        self._watch = ProgressWatch(settings.stall_s)
        self._patience_s = settings.recovery_deadline_s
        self._ends: dict[TP, int] = {}
        self._asked_ends_s = 0.0
        self._unassigned_since_s: float | None = None
        self.exposition = worker_exposition(self.figures)
        """Writes Prometheus' text."""
        self._add_pages()

    def _add_pages(self) -> None:
        @self._app.page("/health/live")
        async def live(view: Any, _: Any) -> Any:
            body = self.live()
            return view.json(body, status=200 if body["live"] else 503)

        @self._app.page("/health/ready")
        async def ready(view: Any, _: Any) -> Any:
            body = self.ready()
            return view.json(body, status=200 if body["ready"] else 503)

        @self._app.page("/metrics")
        async def metrics(view: Any, _: Any) -> Any:
            return view.bytes(self.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @property
    def phase(self) -> str:
        """One word: `failed`, `starting`, `recovery` or `live`."""
        if self._state.failed:
            return "failed"
        if not self._app.started or (not self._recovery.completed.is_set() and not self._recovery.pending):
            return "starting"
        return "recovery" if self._recovery.pending or self._app.rebalancing else "live"

    def live(self) -> dict[str, Any]:
        """Give the body of `/health/live`."""
        now_s, phase = time.monotonic(), self.phase
        reasons = [self._state.failed] if self._state.failed else []
        if phase == "live":
            reasons += self._watch.stalls(now_s)
        if self._unassigned_since_s is not None and now_s - self._unassigned_since_s > self._patience_s:
            reasons.append(f"the group has given no partitions for {now_s - self._unassigned_since_s:.0f} s")
        return {"live": not reasons, "phase": phase, "reasons": reasons, "waiting": dict(self._state.waiting)}

    def ready(self) -> dict[str, Any]:
        """Give the body of `/health/ready`."""
        phase = self.phase
        reasons = [] if phase == "live" else [self._state.failed or phase]
        return {
            "ready": not reasons,
            "phase": phase,
            "reasons": reasons,
            "records_to_recover": self._left(phase),
            # The last good model serves on whatever the registry does: that is no reason.
            "models": dict(self._state.models),
        }

    def figures(self) -> WorkerFigures:
        """Give what `/metrics` says."""
        phase, consumer = self.phase, self._app.consumer
        chunks = consumer if phase == "live" and isinstance(consumer, ChunkConsumer) else None
        return WorkerFigures(
            phase=phase,
            counters=dict(self._state.counters),
            positions={} if chunks is None else chunks.positions(),
            recovery_left=self._left(phase),
            waiting=list(self._state.waiting),
            last_at_ns=dict(self._state.last_at_ns),
            scores=self._state.score_rows(),
            input_drift=self._state.input_rows(),
            models=dict(self._state.models),
        )

    def _left(self, phase: str) -> int:
        """Count the changelog records that recovery still has to read."""
        return max(0, self._recovery.active_remaining_total()) if phase == "recovery" else 0

    async def look(self) -> None:
        """Take one look at the offsets; once a second."""
        now_s, phase = time.monotonic(), self.phase
        waits = phase == "starting" or (self._app.rebalancing and not self._recovery.pending)
        self._unassigned_since_s = (self._unassigned_since_s or now_s) if waits else None
        consumer = self._app.consumer
        if phase != "live" or not isinstance(consumer, ChunkConsumer):
            self._watch.look(now_s, {}, {}, {})
            return
        places = [tp for tp in consumer.assignment() if tp.topic in self._app.chunk_handlers]
        if now_s - self._asked_ends_s > ENDS_EVERY_S:
            self._asked_ends_s = now_s
            await self._ask_ends(consumer, places)
        found = {}
        for tp in places:
            consumed, committed, end = consumer.progress(tp)
            found[f"{tp.topic}-{tp.partition}"] = Progress(consumed, committed, max(end, self._ends.get(tp, 0)))
        self._watch.look(now_s, found, self._state.busy_since_s, self._state.waiting)

    async def _ask_ends(self, consumer: ChunkConsumer, places: list[TP]) -> None:
        # The reader itself knows only ends that it has fetched: one that has stopped fetching sees no lag.
        try:
            self._ends = dict(await asyncio.wait_for(consumer.highwaters(*places), ENDS_LIMIT_S))
        except (KafkaError, TimeoutError):
            return  # what was known before stays

    @property
    def _recovery(self) -> BatchRecovery:
        found: BatchRecovery = self._app.tables.recovery  # type: ignore[attr-defined]  # of our table manager
        return found
