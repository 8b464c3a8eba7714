"""Not one trade lost, none twice: the ledger of one pair's trade_ids. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from tables.records import Trade

__all__ = ["MAX_PENDING", "PairLedger"]

MAX_PENDING: Final = 50_000
"""Trades held behind a hole or during backfill (count); more are dropped, and repaired as a hole later."""


class PairLedger(msgspec.Struct):
    """Releases each trade of one pair once, in trade_id order; what came too early waits.

    Publishing in order is what makes the broker's tail the whole state: after a crash the last
    published id is the last contiguous one.
    """

    next_id: int | None = None
    """The id to release next; None until `anchor`."""
    last_ts_ns: int = 0
    """Time of the last released trade: where a REST repair starts."""
    pending: dict[int, Trade] = {}
    max_pending: int = MAX_PENDING
    released: int = 0
    duplicates: int = 0
    overflow: int = 0
    """Trades dropped because too many waited (count); each comes back through a repair."""
    skipped: int = 0
    """Ids given up (count)."""

    def anchor(self, next_id: int, last_ts_ns: int = 0) -> list[Trade]:
        """Say where the pair starts; what waits below it is a duplicate."""
        self.next_id = next_id
        self.last_ts_ns = max(self.last_ts_ns, last_ts_ns)
        for trade_id in [waiting for waiting in self.pending if waiting < next_id]:
            del self.pending[trade_id]
            self.duplicates += 1
        return self._drain([])

    def offer(self, trades: list[Trade]) -> list[Trade]:
        """Take trades of any order and origin; return what is now contiguous."""
        ready: list[Trade] = []
        for trade in trades:
            trade_id = trade.trade_id
            if trade_id == self.next_id:
                ready.append(trade)
                self.next_id = trade_id + 1
                if self.pending and self.pending.pop(trade_id, None) is not None:
                    self.duplicates += 1  # it came twice within this call, and too early the first time
            elif (self.next_id is not None and trade_id < self.next_id) or trade_id in self.pending:
                self.duplicates += 1
            elif len(self.pending) < self.max_pending:
                self.pending[trade_id] = trade
            else:
                self.overflow += 1
        return self._drain(ready)

    def _drain(self, ready: list[Trade]) -> list[Trade]:
        pending = self.pending
        if pending and self.next_id is not None:
            while (trade := pending.pop(self.next_id, None)) is not None:
                ready.append(trade)
                self.next_id += 1
        if ready:
            self.released += len(ready)
            self.last_ts_ns = max(self.last_ts_ns, ready[-1].ts_ns)
        return ready

    def holes(self) -> list[tuple[int, int]]:
        """Missing ids below the highest one seen, as inclusive ranges."""
        if self.next_id is None or not self.pending:
            return []
        ranges: list[tuple[int, int]] = []
        expected = self.next_id
        for trade_id in sorted(self.pending):
            if trade_id > expected:
                ranges.append((expected, trade_id - 1))
            expected = trade_id + 1
        return ranges

    def skip(self, last: int) -> list[Trade]:
        """Give up every missing id up to `last`; return what waited behind."""
        if self.next_id is None or last < self.next_id:
            return []
        ready = [self.pending.pop(trade_id) for trade_id in sorted(self.pending) if trade_id <= last]
        self.skipped += last + 1 - self.next_id - len(ready)
        self.next_id = last + 1
        return self._drain(ready)
