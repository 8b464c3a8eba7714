"""Batches as a broker sends them, and a fetch of them as aiokafka's consumer keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from agents.fetch import _Fetched

__all__ = ["LZ4", "batch_of", "fetched"]

TP = TopicPartition("trades", 0)
LZ4 = DefaultRecordBatch.CODEC_LZ4
_MAGIC, _NO_PRODUCER, _LARGE_BYTES = 2, -1, 1 << 30


def batch_of(first: int, records: Iterable[tuple[int, bytes, bytes | None]], compression: int = 0) -> bytes:
    """Give the batch of (offset behind `first`, key, value)."""
    builder = DefaultRecordBatchBuilder(_MAGIC, compression, 0, _NO_PRODUCER, _NO_PRODUCER, 0, _LARGE_BYTES)
    for offset, key, value in records:
        builder.append(offset, 1_600_000_000_000 + offset, key, value, [])
    made = bytearray(builder.build())
    made[:8] = first.to_bytes(8)
    return bytes(made)


def fetched(log: bytes, at: int, *, quick: bool, isolation: int = READ_UNCOMMITTED) -> tuple[FetchResult, Any]:
    """Give a fetch that began at offset `at`, and where the consumer stands; `quick` as tickcast takes it."""
    assignment = asyncio.run(_assigned(at))
    records = PartitionRecords(TP, MemoryRecords(log), [], at, None, None, True, isolation)
    result = FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)
    kept = _Fetched({TP.topic} if quick else set())
    kept[TP] = result
    return result, assignment.state_value(TP)


async def _assigned(at: int) -> Assignment:
    assignment = Assignment([TP])  # asks for a running loop
    assignment.state_value(TP).seek(at)
    return assignment
