"""Delivering records to one partition and waiting until the broker has them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiokafka.codec import lz4_encode

from agents.chunk_app import ChunkApp
from redpanda.topics import DEAD_LETTERS
from tables.records import DeadLetter

__all__ = [
    "Record",
    "compress_fast",
    "deliver",
    "deliver_all",
    "deliver_dead_letters",
    "encode",
    "encode_dead_letters",
]

Record = tuple[bytes, bytes]
"""Key and value."""

encode = msgspec.json.Encoder().encode


def compress_fast() -> None:
    """Let aiokafka compress with lz4 at level 1; it has no setting for that.

    At its level 9 it holds the GIL nine times as long for a fifth fewer bytes.
    """
    lz4_encode.__defaults__ = (1,)


async def deliver(app: ChunkApp, topic: str, partition: int, records: Sequence[Record]) -> None:
    """Send `records` in order to one partition; return when all are acknowledged.

    Faust's own `Topic.send` costs 30 us and more a record; whole batches cost 2. The partition is that of the
    source: all topics are keyed by the pair and have the same number of partitions.

    Raises
    ------
    aiokafka.errors.KafkaError
        The broker did not take them within the producer's request time-out.

    """
    if not records:
        return
    producer: Any = app.producer._ensure_producer()  # type: ignore[attr-defined]  # noqa: SLF001  # no public way
    acknowledgements: list[Any] = []
    batch = producer.create_batch()
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None) is None:
            acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*acknowledgements)


async def deliver_all(app: ChunkApp, partition: int, records: Mapping[str, Sequence[Record]]) -> None:
    """Send records of several topics at once and return when all are acknowledged; raises as `deliver`.

    aiokafka has one request to a broker under way: what is sent together goes in one of them, and what is sent one
    after the other waits for as many answers.
    """
    sends = [deliver(app, topic, partition, some) for topic, some in records.items() if some]
    if len(sends) == 1:
        await sends[0]
    elif sends:
        await asyncio.gather(*sends)


def encode_dead_letters(letters: Sequence[DeadLetter]) -> list[Record]:
    """Give the records of `dead-letters`."""
    return [(letter.pair.encode(), encode(letter)) for letter in letters]


async def deliver_dead_letters(app: ChunkApp, partition: int, letters: Sequence[DeadLetter]) -> None:
    """Send refused records to `dead-letters`."""
    await deliver(app, DEAD_LETTERS, partition, encode_dead_letters(letters))
