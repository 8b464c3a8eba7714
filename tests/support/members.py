"""Chunk apps in the test's own process: several members of a group on one event loop, stopped wherever a test likes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from faust.types import TP
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.chunks import ChunkConsumer
from agents.stage import WorkerState, register
from redpanda.settings import BrokerSettings
from tests.support.waiting import until

__all__ = ["Fetches", "Member", "Seen", "Stage", "committed", "make_topic", "never", "produce"]


class Seen(NamedTuple):
    """One chunk as a handler met it."""

    generation: int
    tp: TP
    first: int
    next: int


class Stage:
    """A handler that records every chunk, and can be held before it says `done`."""

    def __init__(self, name: str = "stage") -> None:
        self.name = name
        self.seen: list[Seen] = []
        """Chunks that it has begun, in order."""
        self.finished: list[Seen] = []
        """Chunks that it has said `done` to."""
        self.values: dict[TP, list[bytes]] = defaultdict(list)
        self.offsets: dict[TP, set[int]] = defaultdict(set)
        """Offsets of finished chunks."""
        self.ticks = 0
        self.open = asyncio.Event()
        """While it is not set, the handler waits before `done`."""
        self.open.set()
        self.work: Callable[[Chunk], Awaitable[None]] | None = None
        """Runs before `done`."""

    async def handle(self, chunk: Chunk) -> None:
        if not len(chunk):
            self.ticks += 1
            chunk.done()
            return
        seen = Seen(chunk.generation, TP(*chunk.tp), chunk.first_offset, chunk.next_offset)
        self.seen.append(seen)
        self.values[seen.tp] += [value or b"" for value in chunk.values]
        await self.open.wait()
        if self.work is not None:
            await self.work(chunk)
        self.offsets[seen.tp].update(range(seen.first, seen.next))
        self.finished.append(seen)
        chunk.done()

    def durable(self, tp: TP) -> int:
        """Give the first offset of a partition that is not finished."""
        following = 0
        while following in self.offsets[tp]:
            following += 1
        return following


class Member:
    """One member of a consumer group."""

    def __init__(
        self,
        group: str,
        broker: BrokerSettings,
        home: Path,
        topics: dict[str, list[Stage]],
        table_partitions: int = 0,
        **conf: Any,
    ) -> None:
        options: dict[str, Any] = {
            "broker": f"kafka://{broker.broker_url}",
            "store": "memory://",
            "datadir": str(home),
            "topic_partitions": 1,
            "topic_replication_factor": 1,
            "topic_allow_declare": True,
            "web_enabled": False,
            "autodiscover": False,
            "loghandlers": [],
            "broker_session_timeout": 6.0,
            "broker_heartbeat_interval": 0.1,
            "broker_request_timeout": 60.0,
            "broker_commit_interval": 0.1,
            "consumer_auto_offset_reset": "earliest",
            "stream_wait_empty": True,
            "processing_guarantee": "at_least_once",
        }
        self.app = ChunkApp(group, **(options | conf))
        self.state = WorkerState()
        self.table: Any = None
        if table_partitions:
            self.table = self.app.Table("state", partitions=table_partitions, key_type=bytes, value_type=bytes)
        self.stages = [stage for stages in topics.values() for stage in stages]
        for topic, stages in topics.items():
            for stage in stages:
                register(self.app, self.state, topic, f"{topic}.{stage.name}", stage.handle)

    @property
    def consumer(self) -> ChunkConsumer:
        consumer = self.app.consumer
        assert isinstance(consumer, ChunkConsumer)
        return consumer

    @property
    def coordinator(self) -> Any:
        return self.consumer._thread._ensure_consumer()._coordinator

    @property
    def generation(self) -> int:
        return int(self.app.consumer_generation_id or 0)

    def is_ready(self, generation: int = 1) -> bool:
        """Tell whether it consumes as a member of at least this generation."""
        return (
            self.generation >= generation
            and not self.app.rebalancing
            and bool(self.app.tables.recovery.completed.is_set())  # type: ignore[attr-defined]
        )

    def rejoin(self) -> None:
        """Start a rebalance from this member, as a change of the group would."""
        self.consumer._thread.thread_loop.call_soon_threadsafe(self.coordinator.request_rejoin)

    def holds(self) -> set[TP]:
        return {tp for tp in self.consumer.assignment() if tp.topic in self.app.chunk_handlers}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Member]:
        """Run it for the length of the block."""
        self.app.finalize()
        await self.app.start()
        try:
            yield self
        finally:
            for stage in self.stages:  # a held handler would hold up the end as well
                stage.open.set()
            await self.app.stop()


class Fetches:
    """Watches the fetches of a consumer; loses the records of some."""

    def __init__(self, member: Member) -> None:
        self.begun = 0
        self.open = 0
        """Fetches that have begun and not ended."""
        self.records = 0
        self.lose = 0
        """So many of the next fetches that bring records are lost."""
        consumer: Any = member.consumer
        self._fetch = consumer._getmany
        consumer._getmany = self._watched

    async def _watched(self, active: Any, limit_s: float) -> Any:
        self.begun += 1
        self.open += 1
        try:
            found = await self._fetch(active, limit_s)
        finally:
            self.open -= 1
        self.records += sum(map(len, found.values()))
        if found and self.lose:
            self.lose -= 1
            return {}
        return found

    async def next_one(self) -> None:
        """Wait until another fetch has begun."""
        before = self.begun
        await until(lambda: self.begun > before)


def make_topic(admin: KafkaAdminClient, name: str, partitions: int = 1, **config: str) -> None:
    """Make a topic of the test's own."""
    admin.create_topics(
        [NewTopic(name, partitions, 1, topic_configs={k.replace("_", "."): v for k, v in config.items()})],
        wait_for_metadata=True,
    )


def produce(broker: BrokerSettings, topic: str, values: list[bytes], partition: int = 0, keys: int = 1) -> int:
    """Append records with so many different keys, and give the offset behind the last one."""
    producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all")
    sent = [
        producer.send(topic, value, key=b"%d" % (at % keys), partition=partition) for at, value in enumerate(values)
    ]
    producer.flush()
    producer.close()
    return int(sent[-1].get().offset) + 1


def committed(admin: KafkaAdminClient, group: str) -> dict[TP, int]:
    """Give the committed offsets of a group, as the broker knows them."""
    try:
        found = admin.list_group_offsets(group).get(group, {})
    except KafkaError as error:
        if not error.retriable:
            raise
        return {}  # the broker has just begun with its first group
    return {TP(tp.topic, tp.partition): int(one.offset) for tp, one in found.items() if int(one.offset) >= 0}


async def never(condition: Callable[[], object], for_s: float = 1.0) -> None:
    """Sample `condition` over ten commit intervals, and fail where it holds."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        found = condition()
        assert not found, found
        await asyncio.sleep(0.01)
