"""Whether a changelog still holds what a worker lacks: the question before each recovery.

A changelog is compacted and never deleted from, so its first record is number 0 for ever. One that begins later, is
empty, or ends before what a worker has read, has lost rows; a table filled from it would give wrong candles without a
word. `tickcast rebuild` computes the rows again from `trades` and leaves a mark: from there on the changelog is whole.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from redpanda.errors import TickcastError
from redpanda.settings import BrokerSettings
from redpanda.tail import end_offsets, last_by_key

__all__ = ["Facts", "LostStateError", "Place", "Verdict", "is_plain", "judge", "mark_key"]

_MARK: Final = b"__tickcast\0rebuilt__"


class LostStateError(TickcastError):
    """Rows of a table are gone from its changelog, and this worker does not have them either."""


class Verdict(Enum):
    """What to do with one partition of a changelog."""

    READ = "read on from where the folder ends"
    START_OVER = "wipe the folder and read from the start"
    LOST = "rows are gone"


class Place(NamedTuple):
    """Where a changelog partition, and the worker's folder for it, begin and end (offsets)."""

    reached: int | None
    """Last record in the folder; None for an empty folder."""
    first: int
    """First record that the broker still has."""
    end: int
    """Record that comes next."""
    committed: int | None = None
    """Offset of the source that the group has committed; None or 0 where nothing was processed yet."""


def judge(place: Place, *, marked: bool, has_outputs: bool) -> tuple[Verdict, str]:
    """Decide what to do with a partition, and give the reason in words ("" where all is well).

    Parameters
    ----------
    marked
        The changelog holds the mark of a rebuild: what it lacks in front is not needed.
    has_outputs
        The stage has sent records of this partition: then its table held rows.
    """
    reached, first, end, committed = place
    if reached is not None and first - 1 <= reached < end:
        return Verdict.READ, ""
    if reached is not None and reached >= end:
        reason = f"it ends at {end} and the folder was filled up to {reached}"
        if not committed:
            return Verdict.START_OVER, f"{reason}: the folder belongs to another broker's data"
    elif first > 0:
        reason = f"it begins at {first} and the folder ends at {'nothing' if reached is None else reached}"
    elif end == 0 and committed and has_outputs:
        reason = f"it is empty, and {committed} records of the source were processed"
    else:
        return Verdict.READ, ""
    if marked:
        return Verdict.START_OVER, f"{reason}: the rows were rebuilt since"
    return Verdict.LOST, reason


def is_plain(place: Place) -> bool:
    """Tell whether it is read on from, whatever else is known: nobody needs to be asked."""
    return all(
        judge(place._replace(committed=committed), marked=False, has_outputs=True)[0] is Verdict.READ
        for committed in (None, 1)
    )


def mark_key(partition: int) -> bytes:
    """Key of the record that a rebuild leaves in a partition of a changelog. It is no row."""
    return b"%s/%d" % (_MARK, partition)


class Facts:
    """Looks into the log for what `judge` asks; with a client of its own, because it is rarely needed."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker

    def is_marked(self, changelog: str, partition: int) -> bool:
        """Tell whether a rebuild left its mark. Blocks."""
        key = mark_key(partition)
        return bool(last_by_key(self._broker, changelog, [key]))

    def has_records(self, topics: tuple[str, ...], partition: int) -> bool:
        """Tell whether anything was ever sent to this partition of one of the topics. Blocks."""
        ends = end_offsets(self._broker, topics)
        return any(ends[topic, partition] > 0 for topic in topics)
