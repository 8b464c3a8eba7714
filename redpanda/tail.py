"""Read the ends of topics without a consumer group: what was published last, per partition or key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
from kafka import TopicPartition

from redpanda.clients import consumer, reaching
from redpanda.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kafka import KafkaConsumer

    from redpanda.settings import BrokerSettings

__all__ = ["Tail", "end_offsets", "last_by_key", "last_of", "last_records", "records_since", "tail"]

_SILENCE_S: Final = 30.0
"""A reader that gets nothing for this long gives up; a long topic may take longer as a whole."""
_POLL_MS: Final = 500
_BLOCK: Final = 32
"""Offsets of a partition looked at first, from the end; then eight times as many, and again."""


class Tail(msgspec.Struct, frozen=True):
    """One record as it lies in the log."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def end_offsets(settings: BrokerSettings, topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Give (topic, partition) to the offset that its next record gets.

    Raises
    ------
    ConfigError
        A topic does not exist.
    UnreachableError
        The broker did not answer.
    """
    with reaching(settings), consumer(settings) as reader:
        places = [place for topic in topics for place in _partitions(reader, topic)]
        return {(place.topic, place.partition): end for place, end in reader.end_offsets(places).items()}


def tail(settings: BrokerSettings, topic: str, partition: int, n: int) -> list[Tail]:
    """Give the last `n` records of one partition, oldest first; fewer where the log holds fewer.

    Offsets are counted, so in a compacted topic `n` is an upper bound. Raises as `end_offsets`.
    """
    return last_records(settings, topic, n).get(partition, [])


def last_records(settings: BrokerSettings, topic: str, limit_per_partition: int) -> dict[int, list[Tail]]:
    """Give each partition's last records, oldest first; every partition of the topic has an entry.

    Raises as `end_offsets`.
    """
    spans = {
        place: (max(start, end - limit_per_partition), end) for place, (start, end) in _whole(settings, topic).items()
    }
    rows: dict[int, list[Tail]] = {place.partition: [] for place in spans}
    for row in _read(settings, spans):
        rows[row.partition].append(row)
    return rows


def records_since(settings: BrokerSettings, topic: str, since_ms: int, limit_per_partition: int) -> Iterator[Tail]:
    """Yield what was appended at `since_ms` (ms since the epoch) or later, at most so many offsets of each partition.

    Raises as `end_offsets`.
    """
    spans = {
        place: (max(start, end - limit_per_partition), end)
        for place, (start, end) in _whole(settings, topic, since_ms).items()
    }
    return _read(settings, spans)


def last_by_key(
    settings: BrokerSettings,
    topic: str,
    keys: Iterable[bytes] | None,
    limit_per_partition: int | None = None,
    accept: Callable[[Tail], bool] = lambda _: True,
) -> dict[bytes, Tail]:
    """Give the last record of each key; a key that has none is left out.

    Reads backwards in growing blocks until all keys are found, and keeps one record a key and partition in memory.
    Raises as `end_offsets`.

    Parameters
    ----------
    keys
        None: every key that `limit_per_partition` shows.
    limit_per_partition
        Offsets looked through in each partition, from the end; None: all.
    accept
        Says no to a record that must not count, for example one that cannot be read.
    """
    wanted = None if keys is None else set(keys)
    found: dict[bytes, Tail] = {}
    unread = {
        place: (start if limit_per_partition is None else max(start, end - limit_per_partition), end)
        for place, (start, end) in _whole(settings, topic).items()
    }
    block = _BLOCK
    while (wanted is None or wanted - found.keys()) and any(start < end for start, end in unread.values()):
        spans = {place: (max(start, end - block), end) for place, (start, end) in unread.items()}
        # A key that a later block has shown stays as that block had it.
        found |= last_of(
            row
            for row in _read(settings, spans)
            if row.key not in found and (wanted is None or row.key in wanted) and accept(row)
        )
        unread = {place: (start, spans[place][0]) for place, (start, _) in unread.items()}
        block *= 8
    return found


def last_of(rows: Iterable[Tail]) -> dict[bytes, Tail]:
    """Give each key's last record, whatever partition was read first; a record without a key has none.

    Within a partition the log's order counts, not its clock, which may be set back; a key that changed its
    partition is told by the clocks of its last records there.
    """
    ends = {(row.key, row.partition): row for row in rows}
    by_time = sorted(ends.values(), key=lambda row: (row.timestamp_ms, row.partition))
    return {row.key: row for row in by_time if row.key is not None}


def _partitions(reader: KafkaConsumer, topic: str) -> list[TopicPartition]:
    numbers = reader.partitions_for_topic(topic)
    if not numbers:
        raise ConfigError(f"topic {topic} does not exist: create it with `tickcast topics apply`")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def _whole(settings: BrokerSettings, topic: str, since_ms: int = 0) -> dict[TopicPartition, tuple[int, int]]:
    """Give each partition's first offset, of those appended since then, and the one after its last."""
    with reaching(settings), consumer(settings) as reader:
        places = _partitions(reader, topic)
        starts, ends = reader.beginning_offsets(places), reader.end_offsets(places)
        if since_ms:
            found = reader.offsets_for_times(dict.fromkeys(places, since_ms))
            starts = {place: ends[place] if found[place] is None else found[place].offset for place in places}
        return {place: (starts[place], ends[place]) for place in places}


def _read(settings: BrokerSettings, spans: dict[TopicPartition, tuple[int, int]]) -> Iterator[Tail]:
    """Read the offsets [start, end) of each partition; gaps of compaction are passed over.

    Opens a reader of its own: kafka-python 3.0.12 stops delivering a partition when one reader is
    paused, sought back and read again.
    """
    unfinished = {place for place, (start, end) in spans.items() if start < end}
    with reaching(settings), consumer(settings) as reader:
        reader.assign(list(unfinished))
        for place in unfinished:
            reader.seek(place, spans[place][0])
        heard_s = time.monotonic()
        while unfinished:
            batches = reader.poll(_POLL_MS)
            for place, records in batches.items():
                for record in records:
                    if record.offset < spans[place][1]:
                        yield Tail(record.partition, record.offset, record.timestamp, record.key, record.value)
            unfinished -= {place for place in unfinished if reader.position(place) >= spans[place][1]}
            if batches:
                heard_s = time.monotonic()
            elif unfinished and time.monotonic() - heard_s > _SILENCE_S:
                raise UnreachableError(
                    f"the broker at {settings.broker_url} (TICKCAST_BROKER_URL) did not deliver "
                    f"{next(iter(unfinished)).topic} for {_SILENCE_S:g} s: see its log"
                )
