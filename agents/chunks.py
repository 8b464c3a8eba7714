"""Chunk delivery: one Faust event a partition and poll, carrying all raw records of that poll.

Faust 0.15.3 spends two asyncio tasks a record; a chunk spends them once for up to a megabyte of records. The
subclass also closes the holes that batching would tear open; tests/chaos kills, stalls and rebalances workers to
hold it to that:

* nothing is delivered before recovery is complete or while the flow is stopped, because Faust then clears the
  stream queues; what was fetched is sought back to, so that it is fetched again;
* an offset is committed only when every handler of the topic has said `done`, never because an agent raised;
* a chunk that does not begin where the last one ended is refused and fetched again, unless its fetch began there
  (a compacted topic has real gaps);
* a slow handler holds back its partition, not the process;
* a worker that slept longer than its session sends nothing until the broker has confirmed it (agents/lease.py).

See docs/adr/0003-chunk-delivery.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import Message

from agents.chunk import Chunk, wrapped
from agents.durable import pass_buffer
from agents.fetch import ChunkThread
from agents.lease import LeasedProducer
from agents.places import PlacedConsumer

__all__ = ["ChunkConsumer", "ChunkTransport"]

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
TICK_S: Final = 1.0
"""A partition that is read to its end gets an empty chunk this often, so that idle pairs can close."""


class ChunkConsumer(PlacedConsumer):
    """Faust's aiokafka consumer with chunk delivery for the app's chunk topics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._delivered_at_s: dict[TP, float] = {}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109  # Faust's
        """Fetch once and yield one message a partition; other topics are delivered as Faust does."""
        await self._wait_for_flow()
        active = set(self._get_active_partitions())
        begun_in, begun_s = self.app.consumer_generation_id, time.monotonic()
        records, begun_at = await self._fetch(active, timeout)
        records = await self._without_changelogs(records, begun_in)
        # Asked now: a fetch that began before a rebalance ends after it, with records of the new assignment.
        generation = self.app.consumer_generation_id
        if not records and self.should_stop:
            return
        plain: dict[TP, Any] = {}
        for tp, batch in records.items():
            if tp.topic not in self.app.chunk_handlers:
                plain[tp] = batch
                continue
            async for message in self._chunk_messages(tp, batch, generation, begun_at.get(tp)):
                yield tp, message
        for tp, message in self._plain_messages(plain, generation):
            yield tp, message
        for tp in self._idle_partitions(active):
            if self._may_deliver(tp, generation):
                yield tp, self._tick(tp)
        if not plain and not self.app.in_recovery and sum(map(len, records.values())) < SMALL_CHUNK_RECORDS:
            await asyncio.sleep(LINGER_S - (time.monotonic() - begun_s))

    async def _without_changelogs(self, records: dict[TP, Any], generation: int) -> dict[TP, Any]:
        """Hand changelog records to recovery; give the others."""
        recovery, found = self._recovery(), {tp for tp in records if self._is_changelog_tp(tp)}
        if self.flow_active and self.app.consumer_generation_id == generation:
            for tp in found:
                recovery.take(tp, records[tp])
            await recovery.after_poll(found, generation)
        else:
            # Nobody can tell whether they were read before or after recovery went to its place.
            await recovery.fetch_again(found)
        return {tp: batch for tp, batch in records.items() if tp not in found}

    async def _wait_for_flow(self) -> None:
        while not (self.flow_active or self.should_stop):
            with self._at_work():
                await self.wait(self.can_resume_flow, timeout=TICK_S)  # type: ignore[arg-type]  # mode types its own Event only

    async def _fetch(self, active: set[TP], limit_s: float) -> tuple[dict[TP, Any], dict[TP, int | None]]:
        """Give the records, and the offset at which the fetch of each chunk partition began, where that is certain."""
        busy = {tp for tp in active if self._is_busy(tp)}
        if not active - busy:
            with self._at_work():
                await asyncio.sleep(BUSY_POLL_S)
            return {}, {}
        poll_s = BUSY_POLL_S if busy else min(limit_s, TICK_S)
        generation, begun_at = self.app.consumer_generation_id, self._positions(active - busy)
        records = await self._getmany(active - busy, poll_s)
        return dict(records or {}), begun_at if self.app.consumer_generation_id == generation else {}

    def _positions(self, active: set[TP]) -> dict[TP, int | None]:
        """Tell where the next fetch of each partition begins."""
        assignment = self._thread._ensure_consumer()._subscription.subscription.assignment  # noqa: SLF001  # no public way
        if assignment is None:
            return {}
        states = ((tp, assignment.state_value(tp)) for tp in active if tp.topic in self.app.chunk_handlers)
        return {tp: state._position for tp, state in states if state is not None}  # noqa: SLF001  # `position` may raise

    def _at_work(self) -> Any:
        """Count as fetching: after `broker_max_poll_interval` without that aiokafka leaves the group for good."""
        return self._thread._ensure_consumer()._subscription.fetch_context()  # noqa: SLF001  # no public way

    def _plain_messages(self, records: dict[TP, Any], generation: int) -> Iterator[tuple[TP, Message]]:
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            self._track_end(tp)
            yield tp, self._to_message(tp, record)

    async def _chunk_messages(
        self, tp: TP, batch: list[Any], generation: int, begun_at: int | None
    ) -> AsyncIterator[Message]:
        batch = await self._following(tp, batch, begun_at)
        for at in range(0, len(batch), MAX_CHUNK_RECORDS):
            part = batch[at : at + MAX_CHUNK_RECORDS]
            if not self._may_deliver(tp, generation):
                await self._seek_back(tp, part[0].offset, generation)
                return
            yield self._message(tp, part)

    async def _following(self, tp: TP, batch: list[Any], begun_at: int | None) -> list[Any]:
        """Give the records that follow what was delivered; nothing where some between were lost on the way.

        A fetch that began at the expected offset tells what the log holds: what it left out is not there
        (compaction, deleted records, a log that was cut).
        """
        first, expected = batch[0].offset, self._next.get(tp)
        if expected is None or first == expected:
            return batch
        if first > expected:
            return batch if begun_at == expected else await self._refuse(tp, first, expected)
        end = self.highwater(tp)
        if begun_at == expected or (end is not None and end < expected):
            logger.error("%s: the broker lost records before offset %d; reading on at %d", tp, expected, first)
            self._committed_offset[tp] = None
            return batch
        return [record for record in batch if record.offset >= expected]

    async def _refuse(self, tp: TP, first: int, expected: int) -> list[Any]:
        logger.warning("%s: expected offset %d, got %d; fetching again", tp, expected, first)
        generation = self.app.consumer_generation_id
        start = (await self.earliest_offsets(tp))[tp]
        if self._next.get(tp) == expected:
            self._next[tp] = max(expected, start)
            await self._seek_back(tp, self._next[tp], generation)
        return []

    async def _seek_back(self, tp: TP, offset: int, generation: int) -> None:
        # After a rebalance Faust seeks to the committed offsets, here or at the new owner: this one is older news.
        if self.app.consumer_generation_id == generation and tp in self.assignment():
            await self.seek(tp, offset)

    async def _seek(self, partition: TP, offset: int) -> None:
        # Faust seeks from the app's thread; a fetch that the other one is just handing out ends with a KeyError then.
        thread: Any = self._thread
        assignment = thread._ensure_consumer()._subscription.subscription.assignment  # noqa: SLF001  # no public way
        await thread.call_thread(thread.seek_within, assignment, partition, offset)

    def _message(self, tp: TP, part: list[Any]) -> Message:
        chunk = Chunk(tp, part, self.app.chunk_handlers[tp.topic], self.app.consumer_generation_id)
        self._track_end(tp)
        self._next[tp] = chunk.next_offset
        self._pending[tp].append(chunk)
        self._delivered_at_s[tp] = time.monotonic()
        # Faust builds an interval tree over skipped offsets; a chunk skips none.
        self._read_offset[tp] = part[-1].offset - 1
        return wrapped(chunk, part[-1].offset, part[-1].timestamp / 1_000)

    def _tick(self, tp: TP) -> Message:
        self._delivered_at_s[tp] = time.monotonic()
        chunk = Chunk(tp, [], 1, self.app.consumer_generation_id)
        return wrapped(chunk, self._read_offset[tp] or 0, time.time())

    def _idle_partitions(self, active: set[TP]) -> Iterator[TP]:
        now_s = time.monotonic()
        for tp in active:
            if tp.topic not in self.app.tick_topics or self._pending[tp]:
                continue
            if now_s - self._delivered_at_s.get(tp, 0.0) >= TICK_S and self._backlog(tp) == 0:
                yield tp

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
        recovery = self._recovery()
        return (
            self.flow_active
            and self.app.flow_control.is_active()
            # Faust sets `completed` once and for all; of the recoveries after that only `rebalancing` tells.
            and recovery.completed.is_set()
            and not self.app.rebalancing
            and recovery._generation_id == generation  # noqa: SLF001  # an older one may end late
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

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        losses = self.app.lease.losses
        if not await pass_buffer(self.app.producer) or self.app.changelogs.lost is not None:
            return False
        if self.app.lease.is_lost or self.app.lease.losses != losses:
            return False  # rows of these offsets may have been dropped
        return await super()._commit_offsets(offsets, start_new_transaction)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; what was pending will come again."""
        self._committed_offset.clear()
        await super().perform_seek()
        self._forget()
        await self._start_from_committed()

    async def _start_from_committed(self) -> None:
        """Expect the committed offset of each partition next, or its first record where nothing is committed."""
        first: dict[TP, int] = {}
        uncommitted: list[TP] = []
        for tp in self.assignment():
            if offset := self._committed_offset.get(tp):
                first[tp] = offset
            elif not self._is_changelog_tp(tp):
                uncommitted.append(tp)
        if uncommitted and self.app.conf.consumer_auto_offset_reset == "earliest":
            # aiokafka leaves them where they are: behind what was fetched and not delivered.
            for tp, offset in (await self.earliest_offsets(*uncommitted)).items():
                await self.seek(tp, offset)
                first[tp] = offset
        self._next.update({tp: offset for tp, offset in first.items() if tp.topic in self.app.chunk_handlers})

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drop what belongs to the old generation, once its table rows are where the next owner reads them."""
        await super().on_partitions_revoked(revoked)
        await pass_buffer(self.app.producer)
        self._forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start from the committed offsets with nothing pending."""
        self._forget()
        self.app.lease.assigned()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    def _forget(self) -> None:
        self._pending.clear()
        self._next.clear()


class ChunkTransport(driver.Transport):
    """Faust's aiokafka transport with the chunk consumer."""

    Consumer = ChunkConsumer
    Producer = LeasedProducer
