"""Any exchange as a source: many pairs over one connection and one REST budget."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final

from agents.trades.exchange import Decoded
from agents.trades.exchanges import exchange_of
from agents.trades.feed import Feed
from agents.trades.outbox import Outbox
from agents.trades.pair import PairFollower
from agents.trades.rest import Rest
from agents.trades.settings import IngestSettings
from agents.trades.source import Batch, Counters, Resume
from redpanda.errors import ConfigError
from tables.records import Trade
from tables.status import Progress

__all__ = ["LiveSource"]

log = logging.getLogger("tickcast.trades")

WATCH_S: Final = 0.25
"""How often holes that keep live trades waiting are looked at."""


class LiveSource:
    """Live feed and REST history of the exchange that the settings name."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._exchange = exchange_of(settings.kind)
        self._rest_url = settings.rest_url or self._exchange.rest_url
        self._rest = Rest(self._exchange, self._rest_url, settings.rest_per_s or self._exchange.calls_per_s)
        self._pairs: dict[str, PairFollower] = {}
        self._feed: Feed | None = None
        self._outbox: Outbox | None = None
        self._unlisted: list[str] = []
        self._started_ns = 0

    @property
    def counters(self) -> Counters:
        """Counts so far."""
        pairs = self._pairs.values()
        return Counters(
            read=sum(pair.read for pair in pairs),
            duplicate=sum(pair.duplicate for pair in pairs),
            holes=sum(pair.ledger.holes for pair in pairs),
            repaired=sum(pair.repaired for pair in pairs),
            unrepairable=sum(pair.ledger.skipped for pair in pairs),
            overflow=sum(pair.ledger.overflow for pair in pairs),
            reconnects=self._feed.reconnects if self._feed else 0,
            rest_calls=self._rest.calls,
        )

    @property
    def state(self) -> str:
        """One word for the status file."""
        if not self._pairs or self._feed is None:
            return "starting"
        if not all(pair.live for pair in self._pairs.values()):
            return "backfill"
        if self._feed.system not in ("", "online"):
            return "maintenance"
        return "live" if self._feed.subscribed else "reconnecting"

    @property
    def progress(self) -> Progress | None:
        """Seconds of history fetched, over all pairs."""
        if self.state != "backfill":
            return None
        spans = [
            ((self._started_ns if pair.live else pair.ledger.last_ts_ns) - pair.start_ns, pair.start_ns)
            for pair in self._pairs.values()
            if pair.start_ns
        ]
        total = sum(self._started_ns - start for _, start in spans) // 1_000_000_000
        done = sum(min(max(span, 0), self._started_ns - start) for span, start in spans) // 1_000_000_000
        return Progress("backfill, seconds of history", done, max(total, done, 1))

    @property
    def detail(self) -> dict[str, object]:
        """Facts for the operator."""
        return {
            "refused": dict.fromkeys(self._unlisted, "not listed") | (self._feed.refused if self._feed else {}),
            "exchange": self._feed.system if self._feed else "",
            "waiting": sum(len(pair.ledger.pending) for pair in self._pairs.values()),
            "ids": {pair.name: pair.facts for pair in self._pairs.values()},
        }

    async def batches(self, resume: dict[str, Resume]) -> AsyncGenerator[Batch, None]:
        """Yield each trade once, a pair's trades in trade_id order but for holes that came late."""
        try:
            names = await self._rest.names(self._settings.pairs)
            self._unlisted = [pair for pair in self._settings.pairs if pair not in names]
            for pair in self._unlisted:
                log.error("%s does not list %s; check TICKCAST_PAIRS", self._rest_url, pair)
            if not names:
                raise ConfigError(f"TICKCAST_PAIRS: {self._rest_url} lists none of them")
            # Closed here, not by the collector: its jobs must have ended before the connections of REST are closed.
            async with contextlib.aclosing(self._run(tuple(names), resume)) as running:
                async for batch in running:
                    yield batch
        finally:
            await self._rest.close()

    async def _run(self, names: tuple[str, ...], resume: dict[str, Resume]) -> AsyncGenerator[Batch, None]:
        self._feed = Feed(self._exchange, self._settings, names, self._on_frame)
        outbox = self._outbox = Outbox(self._feed.room)
        self._started_ns = time.time_ns()
        for name in names:
            pair = PairFollower(name, self._settings, self._exchange.source, self._rest, outbox)
            pair.start_ns = self._started_ns - self._settings.since_s * 1_000_000_000
            if name in resume:
                pair.resume, pair.inherited = resume[name].trade, list(resume[name].holes)
                pair.published = resume[name].published
                pair.start_ns = pair.resume.ts_ns
            self._pairs[name] = pair
        jobs: list[Coroutine[Any, Any, None]] = [self._feed.run(), self._watch()]
        jobs += [pair.run() for pair in self._pairs.values()]
        tasks = [asyncio.create_task(job) for job in jobs]
        for task in tasks:
            task.add_done_callback(outbox.ended)
        try:
            while True:
                yield await outbox.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Bound how long live trades wait for a hole, also while REST does not answer."""
        while True:
            await asyncio.sleep(WATCH_S)
            for pair in self._pairs.values():
                pair.pass_overdue()

    def _on_frame(self, decoded: Decoded) -> None:
        """Take a frame of the feed."""
        assert self._outbox is not None  # noqa: S101  # the feed starts after the outbox
        if decoded.refusals:
            self._outbox.put(Batch("", refusals=decoded.refusals))
        groups: dict[str, list[Trade]] = {}
        for trade in decoded.trades:
            groups.setdefault(trade.pair, []).append(trade)
        for name, trades in groups.items():
            self._pairs[name].take(trades)
        for name, newest_id in decoded.newest_ids.items():
            self._pairs[name].told_newest(newest_id)
