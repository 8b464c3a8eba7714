"""Not one trade lost, none twice: the ledger of one pair's trade_ids. Pure: the caller says what time it is."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final

import msgspec

from agents.trades.gaps import Gap, News

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tables.records import Trade

__all__ = ["MAX_PENDING", "PairLedger"]

MAX_PENDING: Final = 50_000
"""Trades held behind a hole or during backfill (count)."""
SHARE_S: Final = 0.25
"""A page counts for every hole in it that is due within this time."""
RETRY_S: Final = 0.5
"""Wait before a hole is asked for again; it doubles with each answer."""
RETRY_MAX_S: Final = 60.0


class PairLedger(msgspec.Struct):
    """Releases each trade of one pair once, in trade_id order; what came too early waits.

    Publishing in order is what makes the broker's tail the whole state: after a crash the last
    published id is the last contiguous one. The one exception is a hole that was passed because it
    kept the others too long: its trades come late, and the fold takes them as late trades.

    Before `go_live` what waits far ahead is no hole: history is on its way to it. Then a hole is only
    what a page of history tells of and lacks.
    """

    next_id: int | None = None
    """The id to release next; None until `anchor`."""
    last_ts_ns: int = 0
    """Time of the last released trade."""
    high: int = 0
    """Every id up to here was released, waits, is in a hole or was given up."""
    live: bool = False
    pending: dict[int, Trade] = {}
    gaps: list[Gap] = []
    """Open holes, lowest first."""
    skips: dict[int, int] = {}
    """Ranges that were given up ahead of `next_id`, first to last id."""
    news: list[News] = []
    """What happened to holes since the caller last took it."""
    max_pending: int = MAX_PENDING
    released: int = 0
    duplicates: int = 0
    filled: int = 0
    """Missing ids that came (count)."""
    overflow: int = 0
    """Trades dropped because too many waited for history (count); history brings each again."""
    skipped: int = 0
    """Ids given up (count)."""
    holes: int = 0
    """Holes seen (count)."""

    def anchor(self, next_id: int, last_ts_ns: int = 0, now_s: float = 0.0) -> list[Trade]:
        """Say where the pair starts; what waits below it is a duplicate."""
        self.next_id = next_id
        self.high = next_id - 1
        self.last_ts_ns = max(self.last_ts_ns, last_ts_ns)
        for trade_id in [waiting for waiting in self.pending if waiting < next_id]:
            del self.pending[trade_id]
            self.duplicates += 1
        ready = self._drain([])
        if self.live:
            self._look_ahead(list(self.pending), now_s)
        return ready

    def reopen(self, first: int, last: int, after_ns: int, now_s: float, published: Iterable[int] = ()) -> Gap:
        """Take over a hole below `next_id` that somebody else has told of: what is above it is published already.

        So are some of its own ids, perhaps all: then it is closed at once.
        """
        gap = Gap(first, last, [(first, last)], after_ns, now_s, now_s, passed=True)
        insort(self.gaps, gap, key=lambda one: one.first)
        self.holes += 1
        for trade_id in published:
            self._fill(trade_id)
        return gap

    def go_live(self, now_s: float) -> None:
        """History has reached the present: from now on what is missing is a hole."""
        self.live = True
        if self.next_id is not None:
            self._look_ahead([waiting for waiting in self.pending if waiting > self.high], now_s)

    def offer(self, trades: list[Trade], now_s: float = 0.0) -> list[Trade]:
        """Take trades of any order and origin; return what is to publish, late ones first."""
        ready: list[Trade] = []
        late: list[Trade] = []
        ahead: list[int] = []
        for trade in trades:
            trade_id = trade.trade_id
            if trade_id == self.next_id:
                ready.append(trade)
                self._step_over(trade_id)
                if trade_id > self.high:
                    self.high = trade_id
                else:
                    self._fill(trade_id)
                if self.pending and self.pending.pop(trade_id, None) is not None:
                    self.duplicates += 1  # it came too early within this call, or history has reached it
            elif self.next_id is not None and trade_id < self.next_id:
                if self._fill(trade_id):
                    late.append(trade)
                else:
                    self.duplicates += 1
            elif self._hold(trade) and trade_id > self.high:
                ahead.append(trade_id)
        ready = self._drain(ready)
        if self.pending and self.live and self.next_id is not None:
            ready += self._see_holes(ahead, now_s)
        late.sort(key=lambda trade: trade.trade_id)
        return late + ready if late else ready

    def _hold(self, trade: Trade) -> bool:
        """Keep a trade that came before its turn; tell whether it is new and there was room."""
        if trade.trade_id in self.pending:
            self.duplicates += 1
            return False
        if len(self.pending) >= self.max_pending and not (self.live and self.next_id is not None):
            self.overflow += 1
            return False
        self.pending[trade.trade_id] = trade
        if trade.trade_id <= self.high:
            self._fill(trade.trade_id)
        return True

    def _see_holes(self, ahead: list[int], now_s: float) -> list[Trade]:
        """Open holes in front of new ids, and pass the lowest ones while too many trades wait."""
        self._look_ahead(ahead, now_s)
        ready: list[Trade] = []
        while len(self.pending) > self.max_pending and self._first_blocking() is not None:
            ready += self._pass_first()
        return ready

    def told_newest(self, newest_id: int, now_s: float) -> None:
        """Note that the exchange has traded up to `newest_id`: what the socket did not give is a hole."""
        if self.live and self.next_id is not None and newest_id > self.high:
            self._open(self.high + 1, newest_id, now_s)
            self.high = newest_id

    def told(self, first: int, last: int, now_s: float, by_s: float | None = None) -> None:
        """Note that a page told of every id from `first` to `last`: what is missing there, it lacks.

        It is a try of each hole that is due by `by_s`, or about now: holes share pages, and none uses up its tries
        because of others.
        """
        by_s = now_s + SHARE_S if by_s is None else by_s
        if self.next_id is None:
            return
        if last > self.high:
            self._look_ahead([waiting for waiting in self.pending if self.high < waiting <= last], now_s)
        for gap in list(self.gaps):
            if gap.missing[0][0] > last:
                break
            if gap.missing[0][0] < first:
                continue
            if gap.reach > last:
                self.gaps.insert(self.gaps.index(gap) + 1, gap.cut(last))
            if gap.due_s <= by_s:
                gap.answers += 1
                self.asked(gap, now_s)

    def asked(self, gap: Gap, now_s: float) -> None:
        """Note that a page was asked for a hole, and when to ask again."""
        gap.due_s = now_s + min(RETRY_S * 2.0**gap.asks, RETRY_MAX_S)
        gap.asks += 1

    def give_up(self, tries: int) -> list[Trade]:
        """Give up what `tries` pages told of and lacked, or four times as many did not reach."""
        given_up = [gap for gap in self.gaps if gap.answers >= tries or gap.asks >= 4 * tries]
        for gap in given_up:
            self._give_up(gap)
        return self._drain([]) if given_up else []

    def forget(self, count: int) -> list[Trade]:
        """Give up the oldest of more than `count` open holes: memory has an end."""
        for gap in self.gaps[: max(len(self.gaps) - count, 0)]:
            self._give_up(gap)
        return self._drain([])

    def pass_overdue(self, before_s: float) -> list[Trade]:
        """Release what waits behind holes seen before `before_s`; the holes stay open."""
        ready: list[Trade] = []
        while (gap := self._first_blocking()) is not None and gap.found_s <= before_s:
            ready += self._pass_first()
        return ready

    def due(self, by_s: float) -> Gap | None:
        """Lowest hole that is to be asked for."""
        return next((gap for gap in self.gaps if gap.due_s <= by_s), None)

    def ranges(self) -> list[tuple[int, int]]:
        """Ids that are missing, as inclusive ranges."""
        return [part for gap in self.gaps for part in gap.missing]

    def _look_ahead(self, ids: list[int], now_s: float) -> None:
        """Find the holes in front of ids that wait above `high`."""
        for trade_id in sorted(ids):
            if trade_id > self.high + 1:
                self._open(self.high + 1, trade_id - 1, now_s)
            self.high = max(self.high, trade_id)

    def _open(self, first: int, last: int, now_s: float) -> None:
        below = self.pending.get(first - 1)
        since_ns = below.ts_ns if below is not None else self.last_ts_ns
        gap = Gap(first, last, [(first, last)], since_ns, now_s, now_s)
        self.gaps.append(gap)
        self.holes += 1
        self.news.append(News(gap, first, last, "open"))

    def _fill(self, trade_id: int) -> bool:
        """Strike an id off its hole; tell whether it was missing."""
        place = bisect_right(self.gaps, trade_id, key=lambda gap: gap.first) - 1
        if place < 0 or not self.gaps[place].take(trade_id):
            return False
        self.filled += 1
        if not self.gaps[place].missing:
            self._close(self.gaps[place])
        return True

    def _close(self, gap: Gap) -> None:
        self.gaps.remove(gap)
        self.news += [News(gap, first, last, state) for (first, last), state in gap.outcome()]

    def _give_up(self, gap: Gap) -> None:
        self._close(gap)
        for first, last in gap.missing:
            self.skipped += last + 1 - first
            if not gap.passed:
                self.skips[first] = last

    def _first_blocking(self) -> Gap | None:
        return next((gap for gap in self.gaps if not gap.passed), None)

    def _pass_first(self) -> list[Trade]:
        """Go on above the lowest hole that keeps others waiting; it stays open."""
        gap = self._first_blocking()
        if gap is None:
            return []
        gap.passed = True
        for first, last in gap.missing:
            self.skips[first] = last
        return self._drain([])

    def _step_over(self, trade_id: int) -> None:
        """Go on behind a published id; where it came after it was given up, the rest of its range is still skipped."""
        self.next_id = trade_id + 1
        last = self.skips.pop(trade_id, trade_id) if self.skips else trade_id
        if last > trade_id:
            self.skips[trade_id + 1] = last

    def _drain(self, ready: list[Trade]) -> list[Trade]:
        """Release what has become contiguous."""
        pending = self.pending
        if self.next_id is not None and (pending or self.skips):
            while True:
                if (trade := pending.pop(self.next_id, None)) is not None:
                    ready.append(trade)
                    self._step_over(self.next_id)
                elif (end := self.skips.pop(self.next_id, None)) is not None:
                    come = sorted(one for one in pending if one <= end)  # after they were given up
                    ready += [pending.pop(one) for one in come]
                    self.next_id = end + 1
                else:
                    break
            self.high = max(self.high, self.next_id - 1)
        if ready:
            self.released += len(ready)
            self.last_ts_ns = max(self.last_ts_ns, ready[-1].ts_ns)
        return ready
