"""The ingest service: one source of trades into topic `trades`, resumed from the broker's tail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from agents.trades.health import READY_STATES, health_app
from agents.trades.kraken import KrakenSource
from agents.trades.process import listen, run_until_signal, tell
from agents.trades.publish import Publisher, open_producer
from agents.trades.replay import ReplaySource
from agents.trades.resume import check_source, last_trades
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


def make_source(settings: IngestSettings) -> TradeSource:
    """Source that `settings` names."""
    return ReplaySource(settings) if settings.kind == "replay" else KrakenSource(settings)


class IngestService:
    """Moves trades from a source to the log, and tells how it goes."""

    def __init__(self, settings: IngestSettings, broker: BrokerSettings) -> None:
        self._settings = settings
        self._broker = broker
        self._source = make_source(settings)
        self._publisher: Publisher | None = None
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
        return Status("ingest", state, progress=self._source.progress, counters=counters, detail=detail)

    def amiss(self) -> str:
        """Why the service is not ready; empty when it is."""
        status = self.status()
        if status.state not in READY_STATES:
            return f"the source is {status.state}"
        if self._publisher is not None and self._publisher.stalled_s > STALLED_S:
            return f"the broker has not acknowledged for {self._publisher.stalled_s:.0f} s"
        return ""

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until the source ends or `stop` is set.

        Raises
        ------
        TickcastError
            A setting is wrong, or the broker or the exchange cannot be had.
        """
        self._state = "starting"
        runner, self.port = await listen(
            health_app(self.status, self.amiss), self._settings.ingest_port, "TICKCAST_INGEST_PORT"
        )
        teller = asyncio.create_task(self._tell())
        try:
            await self._move(stop)
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
        while True:
            tell(self._settings.home, self.status())
            await asyncio.sleep(1.0)

    async def _move(self, stop: asyncio.Event) -> None:
        """Resume, pump, drain."""
        settings = self._settings
        resume = await asyncio.to_thread(last_trades, self._broker, settings.pairs, settings.resume_scan)
        check_source(resume, settings.kind)
        producer = await asyncio.to_thread(open_producer, self._broker)
        publisher = self._publisher = Publisher(producer, settings.linger_ms, settings.max_in_flight)
        self._state = ""
        pump = asyncio.create_task(self._pump(publisher, self._source.batches(resume)))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((pump, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done() and not pump.done():
                self._state = "stopping"
        finally:
            stopped.cancel()
            pump.cancel()
            ended = await asyncio.gather(pump, return_exceptions=True)
            await publisher.close(CLOSE_S)
        if isinstance(ended[0], Exception):
            raise ended[0]

    async def _pump(self, publisher: Publisher, batches: AsyncGenerator[Batch, None]) -> None:
        async with contextlib.aclosing(batches):
            async for batch in batches:
                await publisher.publish(batch)
        await publisher.drain()


def run(settings: IngestSettings, broker: BrokerSettings | None = None) -> None:
    """Ingest until SIGTERM, SIGINT or the end of the recording."""
    service = IngestService(settings, broker or BrokerSettings())
    run_until_signal(service.serve)
