"""Faust's consumer thread: how the worker asks the broker, with an eye on the heartbeats and no object a record."""

# ruff: noqa: SLF001  # aiokafka has no public way for any of this
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from functools import partial
from typing import Any, Final

from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from agents.lease import Lease

__all__ = ["FETCH_WAIT_MS", "ChunkThread"]

FETCH_WAIT_MS: Final = 50
"""How long the broker may keep a request that finds nothing (ms). aiokafka has one under way, and a partition whose
records were still unread when it left is not in it: a record of that partition waits for its answer. Faust's 1,500 ms
make that 1.5 s for a stage that was slow once while the other topics are quiet."""


class _Fetched(OrderedDict[Any, Any]):
    """What aiokafka has fetched, by partition; records of chunk topics are taken from it as the parser made them.

    aiokafka makes a `ConsumerRecord` of eleven fields of each, one by one through two generators: four times
    what taking them costs. A chunk needs four of them, and the parser's own records have these.
    """

    def __init__(self, topics: Container[str]) -> None:
        super().__init__()
        self._topics = topics

    def __setitem__(self, tp: Any, result: Any) -> None:
        if tp.topic in self._topics and type(result) is FetchResult:
            result.getall = partial(_take_all, result)  # no subclass: aiokafka asks for this very type
        super().__setitem__(tp, result)


def _take_all(result: FetchResult, max_records: int | None = None) -> list[Any]:
    """Do what `FetchResult.getall` does, but for a limit and for transactions, which it is asked for itself."""
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return []
    source: Any = result._partition_records
    if max_records is not None or source._isolation_level != READ_UNCOMMITTED:
        return list(FetchResult.getall(result, max_records))
    # Where a batch is broken the next call finds none, stays where it is, and all are fetched again.
    batches, source._records = source._records, MemoryRecords(b"")
    first = reached = source.next_fetch_offset
    found: list[Any] = []
    while batches.has_next():
        batch = batches.next_batch()
        if source._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {result._topic_partition}")
        if not batch.is_control_batch:
            found += batch
        reached = batch.next_offset
    source.next_fetch_offset = reached
    result._update_position()
    result._partition_records = None
    if found and found[0].offset < first:  # a batch is sent whole, wherever in it the fetch began
        return [record for record in found if record.offset >= first]
    return found


class ChunkThread(driver.AIOKafkaConsumerThread):
    """Fetches for `ChunkConsumer`; the app has the `lease`, and `chunk_handlers` by topic."""

    async def on_start(self) -> None:
        """Start the consumer; its heartbeats and fetches begin when it joins the group."""
        await super().on_start()
        app: Any = self.app
        consumer: Any = self._ensure_consumer()
        lease: Lease = app.lease
        lease.watch(consumer._coordinator)
        consumer._fetcher._records = _Fetched(app.chunk_handlers)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # Faust's is fixed; it is read when the consumer starts
        return consumer

    async def seek_within(self, assignment: Any, tp: TP, offset: int) -> None:
        """Seek from the thread that reads what was fetched, unless the partitions were given anew meanwhile."""
        consumer: Any = self._ensure_consumer()
        if consumer._subscription.subscription.assignment is assignment:
            consumer.seek(tp, offset)
