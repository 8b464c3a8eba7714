"""Faust's consumer thread: how the worker asks the broker, with an eye on the heartbeats and no object a record."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container
from typing import Any, Final

from aiokafka.consumer.fetcher import FetchResult
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from agents.lease import Lease

__all__ = ["FETCH_WAIT_MS", "ChunkThread"]

FETCH_WAIT_MS: Final = 50
"""How long the broker may keep a request that finds nothing (ms). aiokafka has one under way, and a partition whose
records were still unread when it left is not in it: a record of that partition waits for its answer. Faust's 1,500 ms
make that 1.5 s for a stage that was slow once while the other topics are quiet."""


class _Fetched(OrderedDict[Any, Any]):
    """What aiokafka has fetched, by partition; records of chunk topics stay as the parser made them.

    aiokafka makes a `ConsumerRecord` of eleven fields of each, a fifth of what a small record costs. A chunk needs
    four of them, and the parser's own records have these.
    """

    def __init__(self, topics: Container[str]) -> None:
        super().__init__()
        self._topics = topics

    def __setitem__(self, tp: Any, result: Any) -> None:
        if tp.topic in self._topics and type(result) is FetchResult:
            result._partition_records._consumer_record = _as_it_is  # noqa: SLF001  # no public way
        super().__setitem__(tp, result)


def _as_it_is(_: Any, record: Any) -> Any:
    return record


class ChunkThread(driver.AIOKafkaConsumerThread):
    """Fetches for `ChunkConsumer`; the app has the `lease`, and `chunk_handlers` by topic."""

    async def on_start(self) -> None:
        """Start the consumer; its heartbeats and fetches begin when it joins the group."""
        await super().on_start()
        app: Any = self.app
        consumer: Any = self._ensure_consumer()
        lease: Lease = app.lease
        lease.watch(consumer._coordinator)  # noqa: SLF001  # no public way
        consumer._fetcher._records = _Fetched(app.chunk_handlers)  # noqa: SLF001  # no public way

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001  # Faust's is fixed; it is read when the consumer starts
        return consumer

    async def seek_within(self, assignment: Any, tp: TP, offset: int) -> None:
        """Seek from the thread that reads what was fetched, unless the partitions were given anew meanwhile."""
        consumer: Any = self._ensure_consumer()
        if consumer._subscription.subscription.assignment is assignment:  # noqa: SLF001  # no public way
            consumer.seek(tp, offset)
