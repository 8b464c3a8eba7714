"""Chunk delivery: one Faust event a partition and poll, carrying all raw records of that poll.

Faust 0.15.3 spends two asyncio tasks a record; a chunk spends them once for up to a megabyte of records. The
subclass also closes the holes that batching would tear open; tests/chaos kills, stalls and rebalances workers to
hold it to that:

* nothing is delivered before recovery is complete or while the flow is stopped, because Faust then clears the
  stream queues; what was fetched is sought back to, so that it is fetched again;
* an offset is committed only when every handler of the topic has said `done`, never because an agent raised;
* a chunk that does not begin where the last one ended is refused once and fetched again (a compacted topic
  has real gaps, which then come again and are taken);
* a slow handler holds back its partition, not the process;
* a worker that slept longer than its session publishes nothing until the broker has confirmed it (agents/lease.py).

See docs/adr/0003-chunk-delivery.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage, Message

from agents.fetching import PromptThread
from agents.lease import Lease

__all__ = ["Chunk", "ChunkApp", "ChunkConsumer", "ChunkTransport"]

logger = logging.getLogger("tickcast.chunks")

MAX_CHUNK_RECORDS: Final = 10_000
MAX_UNTAKEN_CHUNKS: Final = 2
"""Chunks of a partition that wait for a handler to begin with them (count)."""
MAX_UNTAKEN_SMALL: Final = 8
"""The same while they hold less than `SMALL_BYTES`: what aiokafka holds unread keeps it from fetching other topics."""
SMALL_BYTES: Final = 64 * 1024
MAX_PENDING_BYTES: Final = 32 * 1024 * 1024
"""Records of a partition that some handler has not finished (bytes)."""
BUSY_POLL_S: Final = 0.02
"""Fetch time-out while a partition is held back: it must not wait a second for the others."""
SMALL_CHUNK_RECORDS: Final = 64
LINGER_S: Final = 0.003
"""Shortest time between two polls that bring little: tiny chunks would eat the processor."""
LEASE_POLL_S: Final = 0.02
TICK_S: Final = 1.0
"""A partition that is read to its end gets an empty chunk this often, so that idle pairs can close."""


class Chunk:
    """Records of one partition with consecutive offsets; empty for a tick."""

    __slots__ = (
        "bytes",
        "first_offset",
        "generation",
        "keys",
        "next_offset",
        "open_handlers",
        "timestamps_ms",
        "tp",
        "values",
        "waiting_handlers",
    )

    def __init__(self, tp: TP, records: list[Any], handlers: int, generation: int) -> None:
        self.tp = tp
        self.generation = generation
        self.values: list[bytes | None] = [record.value for record in records]
        self.keys: list[bytes | None] = [record.key for record in records]
        self.timestamps_ms: list[int] = [record.timestamp for record in records]
        """The broker's append times."""
        self.first_offset: int = records[0].offset if records else -1
        self.next_offset: int = records[-1].offset + 1 if records else -1
        self.bytes = sum(len(value) for value in self.values if value is not None)
        self.open_handlers = handlers
        """Handlers whose effects are not durable yet."""
        self.waiting_handlers = handlers
        """Handlers that have not begun with it."""

    def take(self) -> None:
        """Tell that one handler has begun: the next chunk may be fetched."""
        self.waiting_handlers -= 1

    def done(self) -> None:
        """Tell that one handler has made its effects durable; the last one releases the offset."""
        self.open_handlers -= 1

    def __len__(self) -> int:
        return len(self.values)

    def __bool__(self) -> bool:
        return True


class ChunkApp(faust.App):
    """A Faust app whose topics in `chunk_handlers` are delivered in chunks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.chunk_handlers: dict[str, int] = {}
        """Topic name to the number of agents that must say `done`."""
        self.tick_topics: set[str] = set()
        """Topics whose idle partitions get ticks."""
        self.before_start: Callable[[], None] = lambda: None
        """Runs in a thread before anything is consumed."""
        super().__init__(*args, **kwargs)
        self.lease = Lease(self.conf.broker_session_timeout)

    async def owns(self, chunk: Chunk) -> bool:
        """Tell whether what comes of `chunk` may be published; waits while that is unknown.

        Asked right before every effect that others see. On False the handler returns without `done`: the chunk
        comes again, here or at the new owner.
        """
        while chunk.generation == self.consumer_generation_id:
            if self.lease.is_valid():
                return True
            if self.rebalancing:
                return False
            await asyncio.sleep(LEASE_POLL_S)
        return False

    async def on_first_start(self) -> None:
        """Let the topics be made first: Faust declares only those of its own."""
        await asyncio.to_thread(self.before_start)
        await super().on_first_start()

    def _new_transport(self) -> Any:
        return ChunkTransport(self.conf.broker_consumer, self, loop=self.loop)


class ChunkConsumer(driver.Consumer):
    """Faust's aiokafka consumer with chunk delivery for the app's chunk topics."""

    app: ChunkApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending: dict[TP, deque[Chunk]] = defaultdict(deque)
        self._next: dict[TP, int] = {}
        self._refused_at: dict[TP, int] = {}
        self._delivered_at_s: dict[TP, float] = {}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109  # Faust's
        """Fetch once and yield one message a partition; other topics are delivered as Faust does."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode types its own Event only
        generation = self.app.consumer_generation_id
        active = set(self._get_active_partitions())
        begun_s = time.monotonic()
        records = await self._fetch(active, timeout)
        if not records and self.should_stop:
            return
        plain: dict[TP, Any] = {}
        for tp, batch in records.items():
            if tp.topic not in self.app.chunk_handlers:
                plain[tp] = batch
                continue
            async for message in self._chunk_messages(tp, batch, generation):
                yield tp, message
        for tp, message in self._plain_messages(plain, generation):
            yield tp, message
        for tp in self._idle_partitions(active):
            if self._may_deliver(tp, generation):
                yield tp, self._tick(tp)
        if not plain and sum(map(len, records.values())) < SMALL_CHUNK_RECORDS:
            await asyncio.sleep(LINGER_S - (time.monotonic() - begun_s))

    async def _fetch(self, active: set[TP], limit_s: float) -> dict[TP, Any]:
        busy = {tp for tp in active if self._is_busy(tp)}
        if not active - busy:
            await asyncio.sleep(BUSY_POLL_S)
            return {}
        poll_s = BUSY_POLL_S if busy else min(limit_s, TICK_S)
        return dict(await self._getmany(active - busy, poll_s) or {})

    def _plain_messages(self, records: dict[TP, Any], generation: int) -> Iterator[tuple[TP, Message]]:
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            yield tp, self._to_message(tp, record)

    async def _chunk_messages(self, tp: TP, batch: list[Any], generation: int) -> AsyncIterator[Message]:
        for at in range(0, len(batch), MAX_CHUNK_RECORDS):
            part = batch[at : at + MAX_CHUNK_RECORDS]
            expected = self._next.get(tp)
            if expected is not None and part[0].offset < expected:
                part = [record for record in part if record.offset >= expected]
                if not part:
                    continue
            first = part[0].offset
            if not self._may_deliver(tp, generation):
                await self._seek_back(tp, first, generation)
                return
            if expected is not None and first > expected and self._refused_at.get(tp) != expected:
                logger.warning("%s: expected offset %d, got %d; fetching again", tp, expected, first)
                self._refused_at[tp] = expected
                await self._seek_back(tp, expected, generation)
                return
            yield self._message(tp, part)

    async def _seek_back(self, tp: TP, offset: int, generation: int) -> None:
        # After a rebalance Faust seeks to the committed offsets, here or at the new owner: this one is older news.
        if self.app.consumer_generation_id == generation and tp in self.assignment():
            await self.seek(tp, offset)

    def _message(self, tp: TP, part: list[Any]) -> Message:
        chunk = Chunk(tp, part, self.app.chunk_handlers[tp.topic], self.app.consumer_generation_id)
        message = self._to_message(tp, part[-1])
        message.value = chunk  # type: ignore[assignment]  # the raw codec hands the chunk through
        message.key = None
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        self._next[tp] = chunk.next_offset
        self._pending[tp].append(chunk)
        self._delivered_at_s[tp] = time.monotonic()
        # Faust builds an interval tree over skipped offsets; a chunk skips none.
        self._read_offset[tp] = part[-1].offset - 1
        return message

    def _tick(self, tp: TP) -> Message:
        self._delivered_at_s[tp] = time.monotonic()
        chunk = Chunk(tp, [], 1, self.app.consumer_generation_id)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            self._read_offset[tp] or 0,
            time.time(),
            0,
            None,
            None,
            chunk,  # type: ignore[arg-type]  # the raw codec hands the chunk through
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _idle_partitions(self, active: set[TP]) -> Iterator[TP]:
        now_s = time.monotonic()
        for tp in active:
            if tp.topic not in self.app.tick_topics or self._pending[tp]:
                continue
            if now_s - self._delivered_at_s.get(tp, 0.0) >= TICK_S and self._backlog(tp) == 0:
                yield tp

    def _backlog(self, tp: TP) -> int:
        """Count the records of a partition that were not delivered yet; 1 while that is unknown."""
        end: int | None = self.highwater(tp)
        if end is None:
            return 1
        following = self._next.get(tp, self._read_offset[tp])
        return max(0, end - (following or 0))

    def lag(self) -> int:
        """Count the records of all chunk partitions whose handlers are not done."""
        total = 0
        for tp in list(self._get_active_partitions()):
            if tp.topic in self.app.chunk_handlers:
                total += self._backlog(tp)
                total += sum(len(chunk) for chunk in self._pending[tp] if chunk.open_handlers > 0)
        return total

    def positions(self) -> dict[str, list[int]]:
        """Describe every chunk partition: next offset to deliver, end of the log, and records not done."""
        return {
            f"{tp.topic}-{tp.partition}": [
                self._next.get(tp, self._read_offset[tp] or 0),
                self.highwater(tp) or 0,
                sum(len(chunk) for chunk in self._pending[tp] if chunk.open_handlers > 0),
            ]
            for tp in sorted(self._get_active_partitions())
            if tp.topic in self.app.chunk_handlers
        }

    def _is_busy(self, tp: TP) -> bool:
        untaken = untaken_bytes = open_bytes = 0
        for chunk in reversed(self._pending.get(tp) or ()):
            if chunk.open_handlers <= 0:
                break  # handlers keep the order: this one and all before it only wait for the commit
            open_bytes += chunk.bytes
            if chunk.waiting_handlers > 0:
                untaken += 1
                untaken_bytes += chunk.bytes
        limit = MAX_UNTAKEN_SMALL if untaken_bytes < SMALL_BYTES else MAX_UNTAKEN_CHUNKS
        return untaken >= limit or open_bytes > MAX_PENDING_BYTES

    def _may_deliver(self, tp: TP, generation: int) -> bool:
        return (
            self.flow_active
            and self.app.flow_control.is_active()
            and self._recovery().completed.is_set()
            and self.app.consumer_generation_id == generation
            and tp in self._get_active_partitions()
        )

    def _recovery(self) -> Any:
        return self.app.tables.recovery  # type: ignore[attr-defined]  # missing from Faust's interface only

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in list(self._pending):
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self.app.chunk_handlers:
            return super()._new_offset(tp)
        # Faust's acks say that a stream is through with an event, not that its effects are durable: unused here.
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        pending, offset = self._pending[tp], None
        while pending and pending[0].open_handlers <= 0:
            offset = pending.popleft().next_offset
        return offset

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; what was pending will come again."""
        self._forget()
        await super().perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drop what belongs to the old generation."""
        await super().on_partitions_revoked(revoked)
        self._forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start from the committed offsets with nothing pending."""
        self._forget()
        self.app.lease.renew()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> PromptThread:
        return PromptThread(self, loop=self.loop, beacon=self.beacon)

    def _forget(self) -> None:
        self._pending.clear()
        self._next.clear()
        self._refused_at.clear()


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with the chunk consumer."""

    Consumer = ChunkConsumer
