"""Reading whole partitions of a topic, fast: batches of raw records from the first to the one that is last now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from redpanda.clients import connect
from redpanda.errors import ConfigError, UnreachableError
from redpanda.settings import BrokerSettings

__all__ = ["bounds", "scan"]

_SILENCE_S: Final = 30.0
"""A reader that gets nothing for this long gives up."""
_POLL_MS: Final = 500

Bounds = dict[int, tuple[int, int]]
"""By partition: first offset, and the one after the last."""


def scan(
    broker: BrokerSettings,
    topic: str,
    partitions: Iterable[int],
    take: Callable[[int, Sequence[Any]], None],
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> Bounds:
    """Read partitions from their first record to the end that they have now; gives these bounds.

    Parameters
    ----------
    take
        Gets a partition and some of its records in order (aiokafka's: offset, key, value, timestamp).
    tell
        Gets the offsets passed so far and all of them.

    Raises
    ------
    ConfigError
        The topic does not exist.
    UnreachableError
        The broker does not answer, or stops delivering.

    """
    connect(broker).close()  # it says in a line what aiokafka would log for a minute
    return asyncio.run(_scan(broker, topic, sorted(partitions), take, tell))


def bounds(broker: BrokerSettings, topic: str, partitions: Iterable[int]) -> Bounds:
    """Give the first offset of partitions and the one after their last. Raises as `scan`."""
    connect(broker).close()
    return asyncio.run(_scan(broker, topic, sorted(partitions), None, lambda _done, _total: None))


async def _scan(
    broker: BrokerSettings,
    topic: str,
    partitions: list[int],
    take: Callable[[int, Sequence[Any]], None] | None,
    tell: Callable[[int, int], None],
) -> Bounds:
    reader = AIOKafkaConsumer(
        bootstrap_servers=broker.broker_url, enable_auto_commit=False, client_id="tickcast-reader"
    )
    try:
        await reader.start()
        if not await _exists(reader, topic):
            raise ConfigError(
                f"topic {topic} does not exist: run `tickcast topics apply`; a worker makes its changelogs when it "
                "first starts"
            )
        places = [TopicPartition(topic, partition) for partition in partitions]
        firsts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        found = {place.partition: (firsts[place], ends[place]) for place in places}
        unread = [place for place in places if firsts[place] < ends[place]]
        if take is not None and unread:
            reader.assign(unread)
            for place in unread:
                reader.seek(place, firsts[place])
            total = sum(ends[place] - firsts[place] for place in unread)
            await _read(reader, {place: ends[place] for place in unread}, take, lambda left: tell(total - left, total))
    except KafkaError as error:
        raise UnreachableError(
            f"the broker at {broker.broker_url} (TICKCAST_BROKER_URL) failed: {error}; see its log"
        ) from error
    else:
        return found
    finally:
        await reader.stop()


async def _exists(reader: AIOKafkaConsumer, topic: str) -> bool:
    return topic in await reader.topics()


async def _read(
    reader: AIOKafkaConsumer,
    ends: dict[TopicPartition, int],
    take: Callable[[int, Sequence[Any]], None],
    tell_left: Callable[[int], None],
) -> None:
    heard_s = time.monotonic()
    while ends:
        batches = await reader.getmany(*ends, timeout_ms=_POLL_MS)
        for place, records in batches.items():
            wanted = [one for one in records if one.offset < ends[place]]  # the others were written since
            if wanted:
                take(place.partition, wanted)
        left = {place: end - await reader.position(place) for place, end in ends.items()}
        ends = {place: end for place, end in ends.items() if left[place] > 0}
        tell_left(sum(max(0, count) for count in left.values()))
        if batches:
            heard_s = time.monotonic()
        elif time.monotonic() - heard_s > _SILENCE_S:
            topic = next(iter(ends)).topic if ends else ""
            raise UnreachableError(f"the broker has not delivered {topic} for {_SILENCE_S:g} s: see its log")
