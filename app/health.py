"""Is the worker getting on? Pure: it is told where the offsets are, and says which have stood still for too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["Progress", "ProgressWatch"]

ASLEEP_S: Final = 10.0
"""Looks that are further apart: the process was stopped meanwhile, and with it everything that is judged here."""


class Progress(NamedTuple):
    """Where one partition stands (offsets)."""

    consumed: int
    """Next record to hand to the stages."""
    committed: int
    """Record with which the group would go on; 0 where it has committed none."""
    end: int
    """Record that the next writer gets."""


class ProgressWatch:
    """Remembers since when each partition and each stage has not moved.

    Parameters
    ----------
    stall_s
        TICKCAST_STALL_S: how long they may stand still while there is something to do.

    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._places: dict[str, Progress] = {}
        self._moved_s: dict[tuple[str, str], float] = {}
        """By partition and what of it; absent while there is nothing to do."""
        self._busy: Mapping[str, float] = {}
        self._waiting: Mapping[str, str] = {}
        self._looked_s: float | None = None
        self._woke_s = 0.0

    def look(
        self,
        now_s: float,
        places: Mapping[str, Progress],
        busy_since_s: Mapping[str, float],
        waiting: Mapping[str, str],
    ) -> None:
        """Take one look.

        Parameters
        ----------
        now_s
            Monotonic clock (s).
        places
            By partition, written `topic-number`.
        busy_since_s
            Since when a stage has had its present chunk in hand (s, same clock).
        waiting
            Topics whose writer waits for something outside that is away, and why: no fault of this process.

        """
        if self._looked_s is not None and now_s - self._looked_s > ASLEEP_S:
            self._woke_s = now_s
            self._moved_s = dict.fromkeys(self._moved_s, now_s)
        self._looked_s = now_s
        kept = {}
        for name, place in places.items():
            before = self._places.get(name)
            for what, here, there, was in (
                ("consumed", place.consumed, place.end, before and before.consumed),
                ("committed", place.committed, place.consumed, before and before.committed),
            ):
                if here < there:
                    moved_s = self._moved_s.get((name, what), now_s)
                    kept[name, what] = now_s if was != here else moved_s
        self._places, self._moved_s = dict(places), kept
        self._busy, self._waiting = dict(busy_since_s), dict(waiting)

    def stalls(self, now_s: float) -> list[str]:
        """Say what has stood still for too long, one sentence each; none where all is well."""
        found = []
        for (name, what), moved_s in sorted(self._moved_s.items()):
            still_s = now_s - moved_s
            if still_s > self._stall_s and name.rpartition("-")[0] not in self._waiting:
                place = self._places[name]
                here, there = (place.consumed, place.end) if what == "consumed" else (place.committed, place.consumed)
                found.append(f"{name}: {what} stands at {here} of {there} for {still_s:.0f} s")
        for stage, since_s in sorted(self._busy.items()):
            busy_s = now_s - max(since_s, self._woke_s)
            if busy_s > self._stall_s:
                found.append(f"stage {stage} has had one chunk in hand for {busy_s:.0f} s")
        return found
