"""Whether a changelog still holds what a worker lacks: the question before each recovery.

A changelog is compacted and never deleted from, so its first record is number 0 for ever. One that begins later, is
empty, or ends before what a worker has read, may have lost rows; a table filled from it would give wrong candles
without a word. Each record says how many rows the table had with it. A key that is there at all has its latest value,
so a changelog that begins later is whole if and only if it still has as many keys. `tickcast rebuild` computes lost
rows again from `trades` and leaves a mark that counts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from redpanda.errors import TickcastError
from redpanda.scan import scan
from redpanda.settings import BrokerSettings
from redpanda.tail import end_offsets
from tables.rocks import NO_ROW

__all__ = ["Facts", "LostStateError", "Place", "Tally", "Verdict", "is_plain", "judge", "mark_key", "rows_header"]

_MARK: Final = NO_ROW + b"rebuilt__"
_ROWS: Final = "rows"


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
    mark: bytes | None = None
    """Mark of the last rebuild that the folder has seen."""


class Tally:
    """Counts the keys of a changelog partition, and keeps how many its records say that there are."""

    def __init__(self, partition: int) -> None:
        self.keys: set[bytes] = set()
        self.mark: bytes | None = None
        """What the last rebuild left."""
        self._mark_key = mark_key(partition)
        self._told: int | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether no key is missing; False where no record says how many there should be."""
        return self._told == len(self.keys)

    def take(self, records: Sequence[Any]) -> None:
        """Take the next records (aiokafka's: key, value, headers)."""
        for record in records:
            told = next((int(value) for name, value in record.headers if name == _ROWS), None)
            if record.key == self._mark_key:
                self.mark, self._told = record.value, told
                continue
            if record.value is None:
                self.keys.discard(record.key)
            else:
                self.keys.add(record.key)
            if told is not None:
                # The most: a worker that has lost its partition may have sent a last record with fewer.
                self._told = max(told, self._told or 0)


def judge(
    place: Place, *, mark: bytes | None, whole: bool, has_outputs: bool, expendable: bool = False
) -> tuple[Verdict, str]:
    """Decide what to do with a partition, and give the reason in words ("" where all is well).

    Parameters
    ----------
    mark
        Of the last rebuild in the changelog. One that the folder has not seen tells that the changelog was made again.
    whole
        It has all keys, each with its latest value, wherever it begins.
    has_outputs
        The stage has sent records of this partition: then its table held rows.
    expendable
        Lost rows of this table are learned again, see `redpanda.topics.EXPENDABLE`.
    """
    reached, first, end, committed, seen = place
    if reached is not None and first - 1 <= reached < end:
        return Verdict.READ, ""
    if reached is not None and reached >= end:
        reason = f"it ends at {end} and the folder was filled up to {reached}"
        if not committed:
            return Verdict.START_OVER, f"{reason}: the folder belongs to another broker's data"
        if whole and mark is not None and mark != seen:
            return Verdict.START_OVER, f"{reason}: the rows were rebuilt since"
    elif first > 0:
        reason = f"it begins at {first} and the folder ends at {'nothing' if reached is None else reached}"
        if whole:
            return Verdict.START_OVER, f"{reason}, and it still has all rows"
    elif end == 0 and committed and has_outputs:
        reason = f"it is empty, and {committed} records of the source were processed"
    else:
        return Verdict.READ, ""
    return (Verdict.START_OVER, f"{reason}: what is lost is learned again") if expendable else (Verdict.LOST, reason)


def is_plain(place: Place) -> bool:
    """Tell whether it is read on from, whatever else is known: nobody needs to be asked."""
    return all(
        judge(place._replace(committed=committed), mark=None, whole=False, has_outputs=True)[0] is Verdict.READ
        for committed in (None, 1)
    )


def mark_key(partition: int) -> bytes:
    """Key of the record that a rebuild leaves in a partition of a changelog; folders keep it, and it is no row."""
    return b"%s/%d" % (_MARK, partition)


def rows_header(rows: int) -> dict[str, bytes]:
    """Give the header of a changelog record: how many rows the table's partition has with it."""
    return {_ROWS: b"%d" % rows}


class Facts:
    """Looks into the log for what `judge` asks; with a client of its own, because it is rarely needed."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker

    def tally(self, changelog: str, partition: int) -> Tally:
        """Read a partition from its first record to its last. Blocks."""
        found = Tally(partition)
        scan(self._broker, changelog, [partition], lambda _, records: found.take(records))
        return found

    def has_records(self, topics: tuple[str, ...], partition: int) -> bool:
        """Tell whether anything was ever sent to this partition of one of the topics. Blocks."""
        ends = end_offsets(self._broker, topics)
        return any(ends[topic, partition] > 0 for topic in topics)
