"""One pair of an exchange: its history, then its live trades without a seam, its holes repaired from REST.

The history of a pair goes before its own live trades, because the fold wants event-time order: a trade far ahead of
the others would close their windows. Pairs do not wait for each other: repairs of live pairs go before pages of
history in the budget, and history stops filling the outbox long before the socket does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from agents.trades.continuity import SHARE_S, PairLedger
from agents.trades.exchange import Cursor, Page
from agents.trades.gaps import without
from agents.trades.source import Batch
from redpanda.errors import ConfigError
from tables.records import Hole, Trade

if TYPE_CHECKING:
    from agents.trades.gaps import Gap
    from agents.trades.outbox import Outbox
    from agents.trades.refusals import Refusal
    from agents.trades.rest import Rest
    from agents.trades.settings import IngestSettings

__all__ = ["PairFollower"]

log = logging.getLogger("tickcast.trades")

OVERLAP_NS: Final = 1_000_000_000
"""A resumed pair and a quiet one look this far back."""
DISORDER_NS: Final = 100_000_000
"""A repair looks this far back: neighbours in id may be some ms out of order in time."""
WIDER_STEPS: Final = 4
"""While no page reaches a hole, each request looks ten times further back, at most so often."""
UNCONFIRMED_S: Final = 1.5
"""How soon REST is asked again while the topic's last trade is not yet confirmed."""
ERROR_WAIT_S: Final = 2.0
"""How soon a hole is due again when REST gave an error instead of a page."""
SAME_TIME_NS: Final = 1_000_000
"""REST gives 100 ns, the socket 1 us: one trade's two times differ by less than this."""
HISTORY_TRIES: Final = 2
"""A hole in history is asked for once more and then given up: there is no socket that may still bring it."""
MAX_OPEN_HOLES: Final = 10_000
"""Open holes of a pair that are kept in mind (count)."""
ALL_S: Final = float("inf")
"""In history every hole is due at once."""


class PairFollower:
    """What the socket and REST say of one pair, put together."""

    def __init__(self, name: str, settings: IngestSettings, source: str, rest: Rest, outbox: Outbox) -> None:
        self.name = name
        self._settings = settings
        self._source = source
        self._rest = rest
        self._outbox = outbox
        self.ledger = PairLedger()
        self.wake = asyncio.Event()
        self.start_ns = 0
        """Where history starts, ns since the epoch."""
        self.resume: Trade | None = None
        """The topic's last trade, until the exchange has confirmed it; nothing is released before."""
        self.inherited: list[Hole] = []
        """Holes that an earlier process has told of and not closed."""
        self.published: frozenset[int] = frozenset()
        """Ids of these holes that it had published."""
        self.read = 0
        self.duplicate = 0
        self.repaired = 0
        self._heard_s = time.monotonic()

    @property
    def live(self) -> bool:
        """Whether history has reached the present."""
        return self.ledger.live

    @property
    def facts(self) -> dict[str, int]:
        """What the operator wants to know of the pair's ids."""
        ledger = self.ledger
        return {
            "contiguous_to": (ledger.gaps[0].missing[0][0] if ledger.gaps else ledger.next_id or 1) - 1,
            "open_holes": len(ledger.gaps),
            "missing": sum(last + 1 - first for first, last in ledger.ranges()),
            "repaired": self.repaired,
            "unrepairable": ledger.skipped,
        }

    def take(self, trades: list[Trade]) -> None:
        """Take what the socket gave."""
        self.read += len(trades)
        before = self.ledger.duplicates
        now_s = time.monotonic()
        ready = self.ledger.offer(trades, now_s)
        self.duplicate += self.ledger.duplicates - before
        if ready:
            self._heard_s = now_s
        self._emit(ready)
        if self.ledger.pending or self.ledger.gaps:
            self.wake.set()

    def told_newest(self, newest_id: int) -> None:
        """Hear from the socket which trade is the newest."""
        self.ledger.told_newest(newest_id, time.monotonic())
        self._emit([])
        if self.ledger.gaps:
            self.wake.set()

    def pass_overdue(self) -> None:
        """Let live trades go on without a hole that has kept them long enough."""
        if self.live and self.ledger.gaps:
            ready = self.ledger.pass_overdue(time.monotonic() - self._settings.repair_wait_s)
            if ready:
                log.warning("%s: trades above a hole go on without it", self.name)
            self._emit(ready + self.ledger.forget(MAX_OPEN_HOLES))

    async def run(self) -> None:
        """Fetch history, then repair holes for ever."""
        if self._settings.since_s or self.resume is not None:
            await self._backfill()
        while (unconfirmed := self.resume) is not None:
            log.warning("%s: REST does not show trade %d yet", self.name, unconfirmed.trade_id)
            await asyncio.sleep(UNCONFIRMED_S)
            await self._backfill()
        await self._join()
        self.ledger.go_live(time.monotonic())
        self._emit([])
        self._heard_s = time.monotonic()
        quiet_s = self._settings.quiet_check_s
        while True:
            self.wake.clear()
            ledger = self.ledger
            if ledger.next_id is None and ledger.pending:
                self._emit(ledger.anchor(min(ledger.pending), now_s=time.monotonic()))
            if ledger.due(time.monotonic()) is not None:
                await self._repair(time.monotonic() + SHARE_S, self._settings.repair_tries, urgent=True)
                continue
            next_s = min([self._heard_s + quiet_s] + [gap.due_s for gap in ledger.gaps])
            try:
                async with asyncio.timeout(max(next_s - time.monotonic(), 0.0)):
                    await self.wake.wait()
            except TimeoutError:
                if time.monotonic() - self._heard_s >= quiet_s:
                    await self._check_quiet()

    def _emit(self, trades: list[Trade], refusals: list[Refusal] | None = None) -> None:
        self._outbox.put(Batch(self.name, trades, refusals or [], self._holes()))

    def _holes(self) -> list[Hole]:
        """Turn what the ledger has to tell into records."""
        if not self.ledger.news and not self.inherited:
            return []
        now_ms = time.time_ns() // 1_000_000
        holes: list[Hole] = []
        for news in self.ledger.news:
            gap = news.gap
            gap.found_ms = gap.found_ms or now_ms
            holes.append(
                Hole(
                    pair=self.name,
                    first_id=news.first,
                    last_id=news.last,
                    after_ns=gap.since_ns,
                    state=news.state,
                    tries=gap.asks,
                    found_at_ms=gap.found_ms,
                    at_ms=now_ms,
                    source=self._source,
                )
            )
        self.ledger.news.clear()
        if self.inherited:
            holes += self._closed(holes, now_ms)
        lost = [hole for hole in holes if hole.state == "unrepairable"]
        if lost:
            count = sum(hole.last_id + 1 - hole.first_id for hole in lost)
            span = (lost[0].first_id, lost[-1].last_id)
            log.error("%s: %d ids between %d and %d are in no answer of REST; given up", self.name, count, *span)
        return holes

    def _closed(self, told: list[Hole], now_ms: int) -> list[Hole]:
        """Close the inherited holes that history has passed; what it lacked there was told as unrepairable."""
        for hole in told:
            self.inherited = [part for one in self.inherited for part in without(one, hole)]
        next_id = self.ledger.next_id or 0
        passed = [hole for hole in self.inherited if hole.last_id < next_id]
        self.inherited = [hole for hole in self.inherited if hole.last_id >= next_id]
        return [msgspec.structs.replace(hole, state="repaired", at_ms=now_ms) for hole in passed]

    def _inherit(self, last_id: int) -> None:
        """Take over the holes below the topic's last trade; history brings what is above it."""
        for hole in self.inherited:
            if hole.first_id <= last_id:
                ids = (hole.first_id, min(hole.last_id, last_id))
                gap = self.ledger.reopen(*ids, hole.after_ns, time.monotonic(), self.published)
                gap.found_ms = hole.found_at_ms
        self.inherited = [hole for hole in self.inherited if hole.first_id > last_id]

    def _take_page(self, page: Page, tries: int, by_s: float | None = None, *, tell: bool = True) -> None:
        """Take what REST gave; `tries` pages without an id are enough to give it up.

        It is a try of the holes that are due by `by_s`, or about now.
        """
        self.read += len(page.trades)
        self._confirm(page)
        ledger = self.ledger
        if self.resume is not None:
            self._emit([], page.refusals)
            return
        now_s = time.monotonic()
        ready: list[Trade] = []
        if ledger.next_id is None and page.trades:
            ready = ledger.anchor(page.trades[0].trade_id, now_s=now_s)
        filled = ledger.filled
        ready += ledger.offer(page.trades, now_s)
        self.repaired += ledger.filled - filled
        if page.last_id:
            ledger.told(page.first_id, page.last_id, now_s, by_s)
        ready += ledger.give_up(tries)
        self._emit(ready, page.refusals if tell else None)

    def _confirm(self, page: Page) -> None:
        """Check once that the topic's last trade is this exchange's too; ids of two markets must not mix."""
        ours = self.resume
        if ours is None or not page.trades:
            return
        theirs = next((trade for trade in page.trades if trade.trade_id == ours.trade_id), None)
        newest = page.trades[-1]
        if theirs is not None:
            same = (theirs.price, theirs.qty) == (ours.price, ours.qty)
            same = same and abs(theirs.ts_ns - ours.ts_ns) < SAME_TIME_NS
        elif newest.trade_id < ours.trade_id and newest.ts_ns <= ours.ts_ns + OVERLAP_NS:
            return  # not there yet: a later page, or REST lags behind the socket
        else:
            same = bool(page.refusals)  # an unreadable row may have been it
        if not same:
            raise ConfigError(
                f"topic trades ends with {self.name} trade {ours.trade_id} at {ours.price}, which is no trade of "
                f"{self._source}: use another TICKCAST_HOME for another market or simulator seed"
            )
        self.resume = None
        ready = self.ledger.anchor(ours.trade_id + 1, ours.ts_ns)
        self._inherit(ours.trade_id)
        self._emit(ready)

    async def _backfill(self) -> None:
        """Fetch history up to now; live trades wait in the ledger meanwhile."""
        if self.resume is not None:
            cursor: Cursor | None = Cursor(self.resume.trade_id, self.start_ns - OVERLAP_NS)
        else:
            cursor = await self._rest.cursor_at(self.name, self.start_ns)
        tries = min(HISTORY_TRIES, self._settings.repair_tries)
        while cursor is not None:
            await self._outbox.slack.wait()
            page = await self._rest.patient_page(self.name, cursor)
            self._take_page(page, tries, ALL_S)
            while (gaps := self.ledger.gaps) and gaps[0].reach <= page.last_id:
                await self._repair(ALL_S, tries, urgent=False, below=page.last_id)
            cursor = page.next

    async def _join(self) -> None:
        """Fetch what lies between history's end and the first live trade: it is no hole, the socket came later."""
        ledger = self.ledger
        cursor: Cursor | None = Cursor(ledger.high + 1, ledger.last_ts_ns - DISORDER_NS)
        while cursor is not None and ledger.next_id is not None and ledger.high + 1 < min(ledger.pending, default=0):
            page = await self._rest.patient_page(self.name, cursor)
            self._take_page(page, self._settings.repair_tries, tell=False)
            cursor = page.next

    async def _repair(self, by_s: float, tries: int, *, urgent: bool, below: int = 1 << 64) -> None:
        """Ask once for every hole that is due, lowest first; a page answers for all the holes in it."""
        asked: list[Gap] = []
        while (gap := self._next_due(by_s, below, asked)) is not None:
            asked.append(gap)
            wider = 10 ** min(gap.asks - gap.answers, WIDER_STEPS)
            cursor: Cursor | None = Cursor(gap.missing[0][0], gap.since_ns - DISORDER_NS * wider)
            asks = gap.asks
            while cursor is not None and gap in self.ledger.gaps:
                await (self._outbox.room if urgent else self._outbox.slack).wait()
                if urgent:
                    page = await self._rest.page(self.name, cursor, urgent=True)
                else:
                    page = await self._rest.patient_page(self.name, cursor)
                if page.error:
                    gap.due_s = time.monotonic() + ERROR_WAIT_S
                    return
                self._take_page(page, tries, None if urgent else by_s, tell=not asks)
                cursor = None if page.last_id >= gap.reach else page.next
            if gap.asks == asks and gap in self.ledger.gaps:
                self.ledger.asked(gap, time.monotonic())  # REST does not reach it yet
                self._emit(self.ledger.give_up(tries))

    def _next_due(self, by_s: float, below: int, asked: list[Gap]) -> Gap | None:
        for gap in self.ledger.gaps:
            if gap.reach > below:
                return None
            if gap.due_s <= by_s and gap not in asked:
                return gap
        return None

    async def _check_quiet(self) -> None:
        """Ask REST about a pair without live trades: a quiet market, or a socket that lost some."""
        self._heard_s = time.monotonic()
        ledger = self.ledger
        since_ns = (ledger.last_ts_ns or time.time_ns()) - OVERLAP_NS
        cursor: Cursor | None = Cursor(ledger.high + 1 if ledger.next_id is not None else 0, since_ns)
        before = ledger.released
        while cursor is not None:
            await self._outbox.room.wait()
            page = await self._rest.page(self.name, cursor, urgent=True)
            if page.error:
                break
            self._take_page(page, self._settings.repair_tries)
            cursor = page.next
        if gained := ledger.released - before:
            self.repaired += gained
            log.warning("%s: the socket lacks %d trades that REST has", self.name, gained)
