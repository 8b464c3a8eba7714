"""Ids of one pair that were passed over, and what became of them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tables.records import Hole, HoleState

__all__ = ["Gap", "Ids", "News", "without"]

Ids = tuple[int, int]
"""A range of ids, inclusive."""


class Gap(msgspec.Struct):
    """One hole: its ids, those of them that are still missing, and how often they were asked for."""

    first: int
    last: int
    missing: list[Ids]
    since_ns: int
    """Time of the trade below it: where an exchange that pages by time must look."""
    found_s: float
    """When it was seen, monotonic clock."""
    due_s: float
    """When to ask for it next, monotonic clock."""
    asks: int = 0
    """Pages that were asked for it (count)."""
    answers: int = 0
    """Pages that told of all its ids and still lacked some (count)."""
    passed: bool = False
    """Whether the trades above it were released without it."""
    found_ms: int = 0
    """When it was announced, ms since the epoch; 0 before."""

    @property
    def reach(self) -> int:
        """Give the highest id that is still missing."""
        return self.missing[-1][1] if self.missing else self.first - 1

    def take(self, trade_id: int) -> bool:
        """Strike an id off; tell whether it was missing."""
        place = bisect_right(self.missing, (trade_id, 1 << 64)) - 1
        if place < 0:
            return False
        low, high = self.missing[place]
        if trade_id > high:
            return False
        left = [(low, trade_id - 1)] if low < trade_id else []
        right = [(trade_id + 1, high)] if trade_id < high else []
        self.missing[place : place + 1] = left + right
        return True

    def cut(self, last: int) -> Gap:
        """Keep the ids up to `last` and give the rest as a hole of its own."""
        rest = Gap(last + 1, self.last, [], self.since_ns, self.found_s, self.due_s, self.asks, passed=self.passed)
        rest.missing = [(max(low, last + 1), high) for low, high in self.missing if high > last]
        self.missing = [(low, min(high, last)) for low, high in self.missing if low <= last]
        self.last = last
        return rest

    def outcome(self) -> list[tuple[Ids, HoleState]]:
        """Split the hole into runs of ids that came and ids that did not."""
        runs: list[tuple[Ids, HoleState]] = []
        at = self.first
        for low, high in self.missing:
            if at < low:
                runs.append(((at, low - 1), "repaired"))
            runs.append(((low, high), "unrepairable"))
            at = high + 1
        if at <= self.last:
            runs.append(((at, self.last), "repaired"))
        return runs


class News(msgspec.Struct, frozen=True):
    """A change of a hole that others must hear of."""

    gap: Gap
    first: int
    last: int
    state: HoleState


def without(hole: Hole, record: Hole) -> list[Hole]:
    """Take the ids of `record` out of a hole: what is left of it, lowest first."""
    replace = msgspec.structs.replace
    if record.last_id < hole.first_id or record.first_id > hole.last_id:
        return [hole]
    below = [replace(hole, last_id=record.first_id - 1)] if hole.first_id < record.first_id else []
    above = [replace(hole, first_id=record.last_id + 1)] if hole.last_id > record.last_id else []
    return below + above
