"""The bookkeeping of the chunk consumer under any order of events, without a broker.

The consumer is the real one; what aiokafka's thread answers is a small model of two partitions
(`tests/support/model_fetcher.py`): a log with gaps, a position that a fetch moves and a seek sets, committed offsets,
and another member that may own a partition meanwhile.
Polls happen between any two steps of a rebalance, and a fetch may begin before one and end after it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from faust.types import TP
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import agents.chunks
from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.chunks import ChunkConsumer
from tests.support.machines import run_machine
from tests.support.model_fetcher import TOPIC, TPS, Fetcher

HANDLERS = 2


class ChunkBookkeeping(RuleBasedStateMachine):
    """Any interleaving of appends, polls, lost fetches, `done` in any order, commits and rebalances."""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.fetcher = Fetcher()
        self.inbox: list[Chunk] = []
        """Delivered, and not begun by the handlers: what Faust's queues hold."""
        self.begun: list[tuple[Chunk, list[int]]] = []
        """Begun, with the handlers that are not done."""
        self.expected: dict[TP, int] = {}
        """The record that must come next, of the partitions that are owned."""
        self.done: dict[TP, set[int]] = {tp: set() for tp in TPS}
        self.stage = "ready"
        self.in_flight: asyncio.Task[list[Chunk]] | None = None

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    @initialize(assigned=st.sets(st.sampled_from(TPS), min_size=1))
    def join(self, assigned: set[TP]) -> None:
        self.run(self._make())
        self.revoke()
        self.assign(assigned, 0)
        self.resume_partitions()
        self.seek()
        self.ready()

    async def _make(self) -> None:
        self.app = ChunkApp("model", broker="kafka://127.0.0.1:9", store="memory://", web_enabled=False)
        self.app.chunk_handlers[TOPIC] = HANDLERS

        async def ignore(*_: Any, **__: Any) -> None:
            return

        self.consumer: ChunkConsumer = self.app.transport.create_consumer(  # type: ignore[assignment]
            callback=ignore, on_partitions_revoked=ignore, on_partitions_assigned=ignore
        )
        self.consumer._thread.thread_loop.close()
        self.consumer._thread = self.fetcher  # type: ignore[assignment]
        self.recovery: Any = self.app.tables.recovery  # type: ignore[attr-defined]
        buffer: Any = self.app.producer.buffer
        buffer._stopped.set()  # nothing to wait for: there is no broker
        self.app.consumer_generation_id = 0
        self.recovery.completed.set()  # as since the first recovery of a worker's life
        self.app.flow_control.resume()

    # What the broker and the handlers do.

    @rule(tp=st.sampled_from(TPS), count=st.integers(1, 5), gap=st.sampled_from([0, 0, 0, 1, 3]))
    def append(self, tp: TP, count: int, gap: int) -> None:
        log = self.fetcher.logs[tp]
        first = log.end + gap
        log.offsets += range(first, first + count)
        log.end = first + count

    @rule(tp=st.sampled_from(TPS), data=st.data())
    def compact(self, tp: TP, data: st.DataObject) -> None:
        """Take out some records; those that nobody has seen were never there."""
        log = self.fetcher.logs[tp]
        if len(log.offsets) > 1:
            gone = data.draw(st.sets(st.sampled_from(log.offsets[:-1]), max_size=3))
            log.offsets = [at for at in log.offsets if at not in gone]
            self.done[tp] |= gone

    @precondition(lambda self: self.inbox)
    @rule()
    def begin(self) -> None:
        chunk = self.inbox.pop(0)
        for _ in range(HANDLERS):
            chunk.take()
        self.begun.append((chunk, list(range(HANDLERS))))

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """One handler says `done` to any chunk that it has, of whichever generation, in any order."""
        at = data.draw(st.integers(0, len(self.begun) - 1))
        chunk, left = self.begun[at]
        left.remove(data.draw(st.sampled_from(left)))
        chunk.done()
        if not left:
            self.begun.pop(at)
            self.done[TP(*chunk.tp)].update(range(chunk.first_offset, chunk.next_offset))

    # What Faust does.

    @precondition(lambda self: self.in_flight is None and self.stage in ("ready", "resumed", "sought"))
    @rule(limit=st.integers(1, 6), lost=st.sampled_from([False, False, False, True]))
    def poll(self, limit: int, lost: bool) -> None:
        self.fetcher.limit, self.fetcher.lost = limit, lost
        self._deliver(self.run(self._getmany()))

    @precondition(lambda self: self.in_flight is None and self.stage == "ready")
    @rule(limit=st.integers(1, 6))
    def begin_fetch(self, limit: int) -> None:
        self.fetcher.limit = limit
        self.fetcher.gate.clear()
        self.in_flight = self.loop.create_task(self._getmany())
        self.run(asyncio.sleep(0))

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def end_fetch(self) -> None:
        assert self.in_flight is not None
        self.fetcher.gate.set()
        chunks, self.in_flight = self.run(self.in_flight), None
        self._deliver(chunks)

    @rule()
    def commit(self) -> None:
        offsets = self.consumer._filter_committable_offsets(list(self.consumer._filter_tps_with_pending_acks()))
        for tp, offset in offsets.items():
            if tp not in self.fetcher.assigned:
                continue
            log = self.fetcher.logs[TP(*tp)]
            assert log.committed is None or offset > log.committed
            log.committed = offset
            self.consumer._committed_offset[tp] = offset

    @precondition(lambda self: self.stage in ("ready", "assigned", "resumed", "sought"))
    @rule()
    def revoke(self) -> None:
        """Flow stops, queues are cleared, what is begun goes on; from any step of the last rebalance."""
        self.app.rebalancing = True
        self.consumer.stop_flow()
        self.app.flow_control.suspend()
        self.consumer.pause_partitions(self.fetcher.assigned)
        self.inbox.clear()
        self.run(self.consumer.on_partitions_revoked(set(self.fetcher.assigned)))
        self.expected.clear()
        self.stage = "revoked"

    @precondition(lambda self: self.stage == "revoked")
    @rule(assigned=st.sets(st.sampled_from(TPS)), others=st.integers(0, 4))
    def assign(self, assigned: set[TP], others: int) -> None:
        """The group agrees; who gets the rest may have done and committed some of it already."""
        for tp in set(TPS) - assigned:
            log = self.fetcher.logs[tp]
            open_offsets = [at for at in log.offsets if at >= (log.committed or 0)][:others]
            if open_offsets:
                self.done[tp].update(range(log.committed or 0, open_offsets[-1] + 1))
                log.committed = open_offsets[-1] + 1
        self.fetcher.assigned = set(assigned)
        self.app.consumer_generation_id += 1
        for tp in assigned:
            self.fetcher.logs[tp].reset()
        self.run(self.consumer.on_partitions_assigned(set(assigned)))
        self.consumer.pause_partitions(assigned)
        self.recovery._generation_id = self.app.consumer_generation_id
        self.stage = "assigned"

    @precondition(lambda self: self.stage == "assigned")
    @rule()
    def resume_partitions(self) -> None:
        """With tables the flow is on already while their changelogs are read."""
        self.app.flow_control.resume()
        self.consumer.resume_flow()
        self.consumer.resume_partitions(self.fetcher.assigned)
        self.stage = "resumed"

    @precondition(lambda self: self.stage == "resumed")
    @rule()
    def seek(self) -> None:
        self.run(self.consumer.perform_seek())
        self.stage = "sought"

    @precondition(lambda self: self.stage == "sought")
    @rule()
    def ready(self) -> None:
        self.app.flow_control.resume()  # clears the queues
        self.inbox.clear()
        self.app.rebalancing = False
        for tp in self.fetcher.assigned:
            log = self.fetcher.logs[tp]
            self.expected[tp] = log.committed if log.committed is not None else 0
        self.stage = "ready"

    # What must hold.

    async def _getmany(self) -> list[Chunk]:
        found: list[Chunk] = []
        async for _, message in self.consumer.getmany(timeout=0.0):
            found.append(message.value)  # type: ignore[arg-type]
            self.consumer._read_offset[message.tp] = message.offset  # as Faust's loop does
        return found

    def _deliver(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            tp = TP(*chunk.tp)
            assert tp in self.expected, "delivered while the partition is not owned, or before its table is recovered"
            assert chunk.generation == self.app.consumer_generation_id
            left_out = [at for at in self.fetcher.logs[tp].offsets if self.expected[tp] <= at < chunk.first_offset]
            assert left_out == [], "records left out that the log has"
            assert chunk.first_offset >= self.expected[tp], "delivered twice in one generation"
            between = [at for at in self.fetcher.logs[tp].offsets if chunk.first_offset <= at < chunk.next_offset]
            assert set(between) <= set(chunk.offsets)
            self.expected[tp] = chunk.next_offset
            self.inbox.append(chunk)

    @invariant()
    def committed_is_done(self) -> None:
        for tp, log in self.fetcher.logs.items():
            undone = [at for at in log.offsets if at < (log.committed or 0) and at not in self.done[tp]]
            assert undone == [], f"{tp}: committed {log.committed} past {undone}"

    def teardown(self) -> None:
        """Whatever happened: with everything done, everything is committed."""
        if self.in_flight is not None:
            self.end_fetch()
        for tp in TPS:  # what a fetch lost at the end of a log shows with the next record
            self.append(tp, 1, 0)
        if self.stage == "revoked":
            self.assign(set(TPS), 0)
        for stage, step in (("assigned", self.resume_partitions), ("resumed", self.seek), ("sought", self.ready)):
            if self.stage == stage:
                step()
        for _ in range(400):
            self.poll(limit=6, lost=False)
            self._finish_all()
            self.commit()
            if all((self.fetcher.logs[tp].committed or 0) >= self._last(tp) for tp in self.fetcher.assigned):
                return
        raise AssertionError({tp: (log.committed, log.end) for tp, log in self.fetcher.logs.items()})

    def _finish_all(self) -> None:
        while self.inbox:
            self.begin()
        for chunk, left in self.begun:
            for _handler in left:
                chunk.done()
            self.done[TP(*chunk.tp)].update(range(chunk.first_offset, chunk.next_offset))
        self.begun.clear()

    def _last(self, tp: TP) -> int:
        log = self.fetcher.logs[tp]
        return log.offsets[-1] + 1 if log.offsets else 0


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One loop for all examples, and no pauses between polls."""
    monkeypatch.setattr(agents.chunks, "LINGER_S", 0.0)
    monkeypatch.setattr(agents.chunks, "BUSY_POLL_S", 0.0)
    with contextlib.closing(asyncio.new_event_loop()) as ChunkBookkeeping.loop:
        yield


@pytest.mark.usefixtures("loop")
def test_bookkeeping_skips_no_record_and_commits_none_that_is_not_done(seed: int) -> None:
    run_machine(ChunkBookkeeping, seed, examples=120, steps=50)
