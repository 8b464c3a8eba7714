"""Kraken, or the simulator in its clothes: history, then live without a seam, holes repaired from REST."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final

from agents.trades.continuity import PairLedger
from agents.trades.feed import KrakenFeed
from agents.trades.fields import MAX_TRADE_ID
from agents.trades.frames import Decoded
from agents.trades.pages import Page
from agents.trades.refusals import Refusal
from agents.trades.rest import PAGE_ROWS, Backoff, KrakenRest
from agents.trades.settings import IngestSettings
from agents.trades.source import Batch, Counters, Resume
from redpanda.errors import ConfigError
from tables.records import Trade
from tables.status import Progress

__all__ = ["KrakenSource"]

log = logging.getLogger("tickcast.trades")

OUTBOX_TRADES: Final = 20_000
OVERLAP_NS: Final = 1_000_000_000
"""Repairs look this far back: neighbours in id may be some ms out of order in time."""
UNCONFIRMED_S: Final = 1.5
"""How soon REST is asked again while the topic's last trade is not yet confirmed."""
SAME_TIME_NS: Final = 1_000_000
"""REST gives 100 ns, the socket 1 us: one trade's two times differ by less than this."""


class Outbox:
    """Batches on their way out; `room` is clear while too many wait."""

    def __init__(self, room: asyncio.Event) -> None:
        self._batches: deque[Batch] = deque()
        self._filled = asyncio.Event()
        self._waiting = 0
        self._error: BaseException | None = None
        self.room = room

    def put(self, batch: Batch) -> None:
        """Add a batch; never blocks, `room` says when to stop adding."""
        if not batch.trades and not batch.refusals:
            return
        self._batches.append(batch)
        self._waiting += len(batch.trades) + len(batch.refusals)
        if self._waiting >= OUTBOX_TRADES:
            self.room.clear()
        self._filled.set()

    def ended(self, task: asyncio.Task[None]) -> None:
        """Hand a job's failure to whoever reads."""
        if not task.cancelled() and task.exception() is not None:
            self._error = self._error or task.exception()
            self._filled.set()

    async def get(self) -> Batch:
        """Return the oldest batch, or raise what a job failed with."""
        while not self._batches:
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        batch = self._batches.popleft()
        self._waiting -= len(batch.trades) + len(batch.refusals)
        if self._waiting < OUTBOX_TRADES // 2:
            self.room.set()
        return batch


class _Pair:
    """What one pair's job and the feed share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ledger = PairLedger()
        self.live = False
        self.wake = asyncio.Event()
        self.heard_s = time.monotonic()
        self.start_ns = 0
        self.holes = 0
        self.counted_to = 0
        """Last id of the newest hole counted: one that takes several tries is one hole."""
        self.resume: Trade | None = None
        """The topic's last trade, until the exchange has confirmed it; nothing is released before."""


class KrakenSource:
    """Live feed and REST history of many pairs over one connection and one REST budget."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._rest = KrakenRest(settings.rest_url, settings.calls_per_s, settings.kind)
        self._pairs: dict[str, _Pair] = {}
        self._feed: KrakenFeed | None = None
        self._outbox: Outbox | None = None
        self._unlisted: list[str] = []
        self._started_ns = 0
        self._read = 0
        self._duplicate = 0
        self._repaired = 0

    @property
    def counters(self) -> Counters:
        """Counts so far."""
        ledgers = [pair.ledger for pair in self._pairs.values()]
        return Counters(
            read=self._read,
            duplicate=self._duplicate,
            holes=sum(pair.holes for pair in self._pairs.values()),
            repaired=self._repaired,
            unrepairable=sum(ledger.skipped for ledger in ledgers),
            overflow=sum(ledger.overflow for ledger in ledgers),
            reconnects=self._feed.reconnects if self._feed else 0,
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
        }

    async def batches(self, resume: dict[str, Resume]) -> AsyncGenerator[Batch, None]:
        """Yield each trade once, a pair's trades in trade_id order."""
        try:
            names = await self._rest.names(self._settings.pairs)
            self._unlisted = [pair for pair in self._settings.pairs if pair not in names]
            for pair in self._unlisted:
                log.error("%s does not list %s; check TICKCAST_PAIRS", self._settings.rest_url, pair)
            if not names:
                raise ConfigError(f"TICKCAST_PAIRS: {self._settings.rest_url} lists none of them")
            async for batch in self._run(tuple(names), resume):
                yield batch
        finally:
            await self._rest.close()

    async def _run(self, pairs: tuple[str, ...], resume: dict[str, Resume]) -> AsyncGenerator[Batch, None]:
        self._feed = KrakenFeed(self._settings, pairs, self._on_frame)
        outbox = self._outbox = Outbox(self._feed.room)
        self._started_ns = time.time_ns()
        for name in pairs:
            pair = self._pairs[name] = _Pair(name)
            pair.start_ns = self._started_ns - self._settings.since_s * 1_000_000_000
            if name in resume:
                last = resume[name].trade
                pair.resume = last
                pair.start_ns = last.ts_ns
        jobs: list[Coroutine[Any, Any, None]] = [self._feed.run()]
        jobs += [self._pair_job(pair) for pair in self._pairs.values()]
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

    def _on_frame(self, decoded: Decoded) -> None:
        """Take a frame of the feed."""
        assert self._outbox is not None  # noqa: S101  # the feed starts after the outbox
        if decoded.refusals:
            self._outbox.put(Batch("", refusals=decoded.refusals))
        groups: dict[str, list[Trade]] = {}
        for trade in decoded.trades:
            groups.setdefault(trade.pair, []).append(trade)
        for name, trades in groups.items():
            pair = self._pairs[name]
            self._read += len(trades)
            before = pair.ledger.duplicates
            ready = pair.ledger.offer(trades)
            self._duplicate += pair.ledger.duplicates - before
            if ready:
                pair.heard_s = time.monotonic()
            self._outbox.put(Batch(name, ready))
            if pair.ledger.pending:
                pair.wake.set()

    async def _pair_job(self, pair: _Pair) -> None:
        """Backfill one pair, then repair its holes for ever."""
        if self._settings.since_s or pair.resume is not None:
            await self._backfill(pair)
        while (unconfirmed := pair.resume) is not None:
            log.warning("%s: REST does not show trade %d yet", pair.name, unconfirmed.trade_id)
            await asyncio.sleep(UNCONFIRMED_S)
            await self._backfill(pair)
        pair.live = True
        pair.heard_s = time.monotonic()
        while True:
            if pair.ledger.next_id is None and pair.ledger.pending:
                self._emit(pair, pair.ledger.anchor(min(pair.ledger.pending)))
            if pair.ledger.holes():
                await self._repair(pair, self._settings.repair_tries)
                continue
            pair.wake.clear()
            quiet_s = self._settings.quiet_check_s
            wait_s = pair.heard_s + quiet_s - time.monotonic()
            try:
                async with asyncio.timeout(max(wait_s, 0.0)):
                    await pair.wake.wait()
            except TimeoutError:
                if time.monotonic() - pair.heard_s >= quiet_s:
                    await self._check_quiet(pair)

    def _emit(self, pair: _Pair, trades: list[Trade], refusals: list[Refusal] | None = None) -> None:
        assert self._outbox is not None  # noqa: S101  # jobs start after the outbox
        self._outbox.put(Batch(pair.name, trades, refusals or []))

    async def _page(self, pair: _Pair, since_ns: int) -> tuple[Page, list[Trade], int]:
        """Fetch a page: itself, its new trades in id order, and where the next one starts."""
        assert self._outbox is not None  # noqa: S101  # jobs start after the outbox
        await self._outbox.room.wait()
        page = await self._rest.page(pair.name, since_ns)
        self._read += len(page.trades)
        self._confirm(pair, page)
        page.trades.sort(key=_trade_id)
        next_id = pair.ledger.next_id
        new = [trade for trade in page.trades if next_id is None or trade.trade_id >= next_id]
        if pair.resume is not None:
            new = []
        next_ns = max(page.last_ns or since_ns, since_ns)
        if next_ns == since_ns and page.rows >= PAGE_ROWS:
            next_ns += 1  # a page full of one instant: step over it rather than ask for it for ever
        return page, new, next_ns

    def _confirm(self, pair: _Pair, page: Page) -> None:
        """Check once that the topic's last trade is this exchange's too; ids of two markets must not mix."""
        ours = pair.resume
        if ours is None or not page.trades:
            return
        theirs = next((trade for trade in page.trades if trade.trade_id == ours.trade_id), None)
        newest = max(page.trades, key=_trade_id)
        if theirs is not None:
            same = (theirs.price, theirs.qty) == (ours.price, ours.qty)
            same = same and abs(theirs.ts_ns - ours.ts_ns) < SAME_TIME_NS
        elif newest.trade_id < ours.trade_id and newest.ts_ns <= ours.ts_ns + OVERLAP_NS:
            return  # not there yet: a later page, or REST lags behind the socket
        else:
            same = bool(page.refusals)  # an unreadable row may have been it
        if not same:
            raise ConfigError(
                f"topic trades ends with {pair.name} trade {ours.trade_id} at {ours.price}, which is no trade of "
                f"{self._settings.rest_url}: use another TICKCAST_HOME for another market or simulator seed"
            )
        pair.resume = None
        self._emit(pair, pair.ledger.anchor(ours.trade_id + 1, ours.ts_ns))

    async def _backfill(self, pair: _Pair) -> None:
        """Fetch history up to now; live trades wait in the ledger meanwhile."""
        since_ns = pair.start_ns - OVERLAP_NS if pair.resume is not None else pair.start_ns
        while True:
            page, new, since_ns = await self._page(pair, since_ns)
            ready = pair.ledger.anchor(new[0].trade_id) if new and pair.ledger.next_id is None else []
            self._emit(pair, ready + pair.ledger.offer(new), page.refusals)
            holes = pair.ledger.holes()
            if new and holes and holes[0][1] < new[-1].trade_id:
                await self._repair(pair, 2, below=new[-1].trade_id)
            if page.rows < PAGE_ROWS:
                return

    async def _repair(self, pair: _Pair, tries: int, below: int | None = None) -> None:
        """Fetch what is missing; after `tries` answers without it, give it up and record that."""
        backoff = Backoff(0.5, 10.0)
        look_back_ns = OVERLAP_NS
        while holes := pair.ledger.holes():
            first, last = holes[0]
            if below is not None and last >= below:
                return
            if last > pair.counted_to:
                pair.holes += 1
                pair.counted_to = last
            if backoff.attempts >= tries:
                detail = f"ids {first} to {last} are neither on the socket nor in {tries} REST answers"
                log.error("%s: %s; given up", pair.name, detail)
                refusal = Refusal("hole-unrepairable", detail, f"[{first},{last}]", pair.name)
                self._emit(pair, pair.ledger.skip(last), [refusal])
                backoff.reset()
                continue
            await self._fill(pair, last, pair.ledger.last_ts_ns - look_back_ns)
            if pair.ledger.next_id is not None and pair.ledger.next_id > last:
                backoff.reset()
                look_back_ns = OVERLAP_NS
            else:
                look_back_ns *= 10
                await asyncio.sleep(backoff.next_s())

    async def _fill(self, pair: _Pair, last: int, since_ns: int) -> int:
        """Page on until id `last` is passed or history ends; give how many trades were new."""
        filled = 0
        while True:
            page, new, since_ns = await self._page(pair, since_ns)
            ready = pair.ledger.anchor(new[0].trade_id) if new and pair.ledger.next_id is None else []
            missing = [trade for trade in new if trade.trade_id not in pair.ledger.pending]
            filled += len(missing)
            self._repaired += len(missing)
            self._emit(pair, ready + pair.ledger.offer(missing), page.refusals)
            passed = bool(page.trades) and page.trades[-1].trade_id >= last
            if passed or page.rows < PAGE_ROWS:
                return filled

    async def _check_quiet(self, pair: _Pair) -> None:
        """Ask REST about a pair without live trades: a quiet market, or a socket that lost some."""
        pair.heard_s = time.monotonic()
        since_ns = (pair.ledger.last_ts_ns or time.time_ns()) - OVERLAP_NS
        if filled := await self._fill(pair, MAX_TRADE_ID, since_ns):
            log.warning("%s: the socket lacks %d trades that REST has", pair.name, filled)


def _trade_id(trade: Trade) -> int:
    return trade.trade_id
