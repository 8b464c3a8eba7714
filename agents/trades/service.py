"""The ingest service: one source of trades into topic `trades`, resumed from the broker's tail.

Of several processes of one pair one is active, the one that holds the lease; the others stand by.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from agents.metrics_page import metrics_page
from agents.trades.health import READY_STATES, health_app
from agents.trades.keeper import LeaseKeeper
from agents.trades.live import LiveSource
from agents.trades.metrics import Figures, exposition
from agents.trades.process import listen, run_until_signal, tell
from agents.trades.publish import Publisher, open_producer
from agents.trades.replay import ReplaySource
from agents.trades.resume import check_source, resume_points
from redpanda.settings import BrokerSettings
from tables.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agents.trades.settings import IngestSettings
    from agents.trades.source import Batch, TradeSource

__all__ = ["IngestService", "make_source", "run"]

log = logging.getLogger("tickcast.trades")

STALLED_S: Final = 10.0
"""Without an acknowledgement for this long the service is not ready."""
CLOSE_S: Final = 3.0
SETTLE_S: Final = 1.0
"""A lease that nobody holds comes faster than this; after it the service says that it stands by."""


Tell = Callable[[str, int, int], None]
"""Hears what is being done, how far it is, and how much there is; 0 of 0 when it is over."""


def _tell_nobody(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


def make_source(settings: IngestSettings) -> TradeSource:
    """Source that `settings` names."""
    return ReplaySource(settings) if settings.kind == "replay" else LiveSource(settings)


class IngestService:
    """Moves trades from a source to the log, and tells how it goes."""

    def __init__(self, settings: IngestSettings, broker: BrokerSettings, tell: Tell = _tell_nobody) -> None:
        self._settings = settings
        self._tell_job = tell
        self._broker = broker
        self._source = make_source(settings)
        self._publisher: Publisher | None = None
        self._keeper: LeaseKeeper | None = None
        self._state = ""
        self._error = ""
        self.port = settings.ingest_port

    def status(self) -> Status:
        """Give what the board, `/health` and the status file show."""
        counters: dict[str, int] = msgspec.to_builtins(self._source.counters)
        detail: dict[str, object] = {"source": self._settings.source, "pairs": list(self._settings.pairs)}
        if self._publisher is not None:
            counters["published"] = self._publisher.published
            counters["envelopes"] = self._publisher.envelopes
            counters["in_flight"] = self._publisher.in_flight
            counters["dead_letters"] = self._publisher.dead_letters.total()
            detail["dead_letters"] = dict(self._publisher.dead_letters)
        if self._error:
            detail["error"] = self._error
        detail |= self._source.detail
        state = self._state or self._source.state
        # Two processes may share a folder: the one that waits must not speak for the other.
        name = "ingest-standby" if state == "standby" else "ingest"
        return Status(name, state, progress=self._source.progress, counters=counters, detail=detail)

    def amiss(self) -> str:
        """Why the service is not ready; empty when it is."""
        status = self.status()
        if self._keeper is not None and (why := self._keeper.why):
            return why
        if status.state not in READY_STATES:
            return f"the source is {status.state}"
        if self._publisher is not None and self._publisher.stalled_s > STALLED_S:
            return f"the broker has not acknowledged for {self._publisher.stalled_s:.0f} s"
        return ""

    def figures(self) -> Figures:
        """Give what `/metrics` shows."""
        found = Figures(source=self._source.counters, ready=not self.amiss())
        if (publisher := self._publisher) is not None:
            found.published, found.envelopes = publisher.published, publisher.envelopes
            found.in_flight = publisher.in_flight
            found.dead_letters, found.holes = publisher.dead_letters, publisher.holes
            found.open_holes = len(publisher.open_holes)
            if publisher.newest_ts_ns:
                found.newest_lag_s = time.time() - publisher.newest_ts_ns / 1e9
        if self._keeper is not None:
            found.lease_held, found.lease_losses = self._keeper.is_valid(), self._keeper.lease.losses
        return found

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until the source ends or `stop` is set.

        Raises
        ------
        TickcastError
            A setting is wrong, or the broker or the exchange cannot be had.
        """
        self._state = "starting"
        figures = exposition(self.figures)
        runner, self.port = await listen(
            health_app(self.status, self.amiss, figures), self._settings.ingest_port, "TICKCAST_INGEST_PORT"
        )
        teller = asyncio.create_task(self._tell())
        try:
            async with metrics_page(figures):
                await self._serve(stop)
            self._state = self._state or self._source.state
        except Exception as error:
            self._state, self._error = "failed", str(error)
            raise
        finally:
            teller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await teller
            tell(self._settings.home, self.status())
            await runner.cleanup()
        counters = self.status().counters
        log.info("%s: %s", self._state, ", ".join(f"{name} {count}" for name, count in counters.items()))

    async def _tell(self) -> None:
        label = ""
        while True:
            status = self.status()
            tell(self._settings.home, status)
            job = status.progress
            if label and (job is None or job.label != label):
                self._tell_job(label, 0, 0)
            if job is not None:
                self._tell_job(job.label, job.done, job.total)
            label = job.label if job is not None else ""
            await asyncio.sleep(1.0)

    async def _serve(self, stop: asyncio.Event) -> None:
        """Publish while the lease is ours, stand by while it is not."""
        settings = self._settings
        if settings.kind == "replay":  # who starts a recording wants it; it ends by itself
            await self._move(stop)
            return
        keeper = LeaseKeeper(self._broker, settings.pairs, settings.lease_s)
        try:
            await asyncio.to_thread(keeper.start)
            self._keeper = keeper
            while (term := await self._acquired(keeper, stop)) is not None:
                if await self._move(stop, keeper, term):
                    return
                log.warning("this process slept through its lease, what it had not sent is dropped")
                self._source = make_source(settings)
        finally:
            await asyncio.to_thread(keeper.close)

    async def _acquired(self, keeper: LeaseKeeper, stop: asyncio.Event) -> int | None:
        """Wait for the lease; give its term, or None where the service stops first."""
        waiting = asyncio.create_task(keeper.acquired())
        if not await _either(waiting, stop, SETTLE_S):
            self._state = "standby"
            log.info("%s", keeper.why)
            await _either(waiting, stop, None)
        if not waiting.done():
            waiting.cancel()
            return None
        self._state = "starting"
        return waiting.result()

    async def _move(self, stop: asyncio.Event, keeper: LeaseKeeper | None = None, term: int = 0) -> bool:
        """Resume, pump, drain; tell whether that is all: if not, the lease of this term was lost on the way."""
        settings = self._settings
        resume = await asyncio.to_thread(resume_points, self._broker, settings.pairs, settings.resume_scan)
        check_source(resume, settings.kind)
        producer = await asyncio.to_thread(open_producer, self._broker, keeper.is_valid if keeper else None)
        publisher = self._publisher = Publisher(producer, settings.linger_ms, settings.max_in_flight)
        self._state = ""
        pump = asyncio.create_task(self._pump(publisher, self._source.batches(resume)))
        stopped = asyncio.create_task(stop.wait())
        lost = asyncio.create_task(keeper.lost(term)) if keeper else asyncio.create_task(asyncio.Event().wait())
        is_lost = False
        try:
            await asyncio.wait((pump, stopped, lost), return_when=asyncio.FIRST_COMPLETED)
            is_lost = lost.done() and not pump.done()
            if stopped.done() and not pump.done():
                self._state = "stopping"
        finally:
            for task in (pump, stopped, lost):
                task.cancel()
            ended = await asyncio.gather(pump, lost, return_exceptions=True)
            await (publisher.abandon() if is_lost else publisher.close(CLOSE_S))
        for end in ended:
            if isinstance(end, Exception):
                raise end
        return not is_lost

    async def _pump(self, publisher: Publisher, batches: AsyncGenerator[Batch, None]) -> None:
        async with contextlib.aclosing(batches):
            async for batch in batches:
                await publisher.publish(batch)
        await publisher.drain()


async def _either(task: asyncio.Task[int], stop: asyncio.Event, timeout_s: float | None) -> bool:
    """Wait for the task or for `stop`; tell whether one of them came in time."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait((task, stopped), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    return bool(done)


def run(settings: IngestSettings, broker: BrokerSettings | None = None, tell: Tell = _tell_nobody) -> None:
    """Ingest until SIGTERM, SIGINT or the end of the recording; `tell` hears of the job with a known end."""
    service = IngestService(settings, broker or BrokerSettings(), tell)
    run_until_signal(service.serve)
