"""Chunk delivery through rebalances, on a real broker: nothing skipped, nothing stuck."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from kafka import KafkaAdminClient

from agents.chunk import Chunk
from agents.stage import register
from redpanda.settings import BrokerSettings
from tests.support.members import Fetches, Member, Stage, committed, make_topic, never, produce
from tests.support.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.proof, pytest.mark.usefixtures("collected")]


@pytest.mark.parametrize("before", [[], [b"a", b"b"]], ids=["nothing committed", "committed"])
def test_record_that_a_fetch_from_before_the_rebalance_brings_is_not_lost(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient, before: list[bytes]
) -> None:
    """A fetch waits for records while the group rebalances under it, and ends with one of the new assignment."""
    topic = group = f"old-fetch-{len(before)}"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    if before:
        produce(broker_settings, topic, before)

    async def go() -> None:
        stage = Stage()
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running() as member:
            await until(member.is_ready)
            if before:
                await until(lambda: committed(broker_admin, group).get(tp) == len(before))
            await Fetches(member).next_one()
            generation = member.generation
            member.rejoin()
            await until(lambda: member.is_ready(generation + 1))
            await asyncio.to_thread(produce, broker_settings, topic, [b"c"])
            await until(lambda: stage.values[tp] == [*before, b"c"])
            await until(lambda: committed(broker_admin, group).get(tp) == len(before) + 1)

    asyncio.run(go())


def test_records_fetched_before_the_seek_of_a_rebalance_reach_their_handler(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """Faust resumes the partitions, seeks, and then clears the queues: what is delivered in between would be gone."""
    topic = group = "before-seek"
    partitions = [TP(topic, number) for number in range(4)]
    make_topic(broker_admin, topic, partitions=4)
    for tp in partitions:
        produce(broker_settings, topic, [b"a"], tp.partition)

    async def go() -> None:
        stage = Stage()
        member = Member(group, broker_settings, tmp_path, {topic: [stage]}, table_partitions=4)
        async with member.running():
            await until(lambda: len(committed(broker_admin, group)) == 4)
            fetches = Fetches(member)
            consumer: Any = member.consumer
            seek = consumer.seek_to_committed
            stage.open.clear()

            async def seek_late() -> Any:
                seen = fetches.records
                for tp in partitions:
                    await asyncio.to_thread(produce, broker_settings, topic, [b"b"], tp.partition)
                await until(lambda: fetches.records >= seen + 4)
                await fetches.next_one()  # what came is through `getmany`
                return await seek()

            consumer.seek_to_committed = seek_late
            generation = member.generation
            member.rejoin()
            await until(lambda: member.is_ready(generation + 1))
            stage.open.set()
            await until(lambda: all(set(stage.values[tp]) == {b"a", b"b"} for tp in partitions))
            await until(lambda: set(committed(broker_admin, group).values()) == {2})

    asyncio.run(go())


def test_member_without_partitions_stays_in_the_group_and_takes_over(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """A consumer that does not fetch for `broker_max_poll_interval` leaves its group, and Faust never lets it back."""
    topic = group = "spare"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)

    async def go() -> None:
        stages = [Stage(), Stage()]
        members = [
            Member(group, broker_settings, tmp_path / str(at), {topic: [stage]}, broker_max_poll_interval=2.0)
            for at, stage in enumerate(stages)
        ]
        runs = [contextlib.AsyncExitStack(), contextlib.AsyncExitStack()]
        async with runs[0], runs[1]:
            for member, run in zip(members, runs, strict=True):
                await run.enter_async_context(member.running())
                await until(member.is_ready)
            await until(lambda: all(member.is_ready(2) for member in members))
            owner = 0 if members[0].holds() else 1
            spare = 1 - owner
            await never(lambda: members[spare].coordinator.generation != members[owner].coordinator.generation, for_s=5)
            await runs[owner].aclose()
            await until(lambda: members[spare].holds() == {tp})
            await asyncio.to_thread(produce, broker_settings, topic, [b"a"])
            await until(lambda: stages[spare].values[tp] == [b"a"])

    asyncio.run(go())


def check_order(stages: list[Stage]) -> None:
    """Within one generation of one member, the chunks of a partition follow each other without a hole."""
    for stage in stages:
        following: dict[tuple[int, TP], int] = {}
        for seen in stage.seen:
            expected = following.get((seen.generation, seen.tp), seen.first)
            assert seen.first == expected, (stage.name, seen, expected)
            following[seen.generation, seen.tp] = seen.next


class Sampler:
    """Compares committed offsets with what is durable, as often as the broker answers."""

    def __init__(self, admin: KafkaAdminClient, group: str, stages: Callable[[TP], list[list[Stage]]]) -> None:
        self._admin, self._group, self._stages = admin, group, stages
        self.samples = 0
        self.highest: dict[TP, int] = {}

    async def sample(self) -> None:
        found = await asyncio.to_thread(committed, self._admin, self._group)
        self.samples += 1
        for tp, offset in found.items():
            self.highest[tp] = max(offset, self.highest.get(tp, 0))
            for handler in self._stages(tp):
                done = set().union(*(stage.offsets[tp] for stage in handler))
                assert offset <= next(at for at in itertools.count() if at not in done), (tp, offset, sorted(done)[-3:])

    async def run(self) -> None:
        while True:
            await self.sample()


class Crowd:
    """Three members of one group on three partitions, and records for them."""

    def __init__(self, topic: str, broker: BrokerSettings, home: Path, chance: random.Random) -> None:
        self.topic, self.broker, self.chance = topic, broker, chance
        self.produced = {TP(topic, number): 0 for number in range(3)}
        self.stages = [Stage(f"stage-{number}") for number in range(3)]
        self.members = [
            Member(topic, broker, home / stage.name, {topic: [stage]}, table_partitions=3) for stage in self.stages
        ]
        self.runs = [contextlib.AsyncExitStack() for _ in self.members]
        for stage, member in zip(self.stages, self.members, strict=True):
            stage.work = self._writer(member)

    def _writer(self, member: Member) -> Callable[[Chunk], Awaitable[None]]:
        async def write(chunk: Chunk) -> None:
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)
            member.table[b"%d" % chunk.tp.partition] = b"%d" % chunk.next_offset

        return write

    async def produce(self) -> None:
        for tp in self.produced:
            values = [b"%d" % at for at in range(self.chance.randrange(1, 200))]
            self.produced[tp] = await asyncio.to_thread(produce, self.broker, self.topic, values, tp.partition)

    async def enter(self, at: int) -> None:
        await self.produce()
        await self.runs[at].enter_async_context(self.members[at].running())
        await self.produce()
        await until(self.members[at].is_ready)

    async def leave(self, at: int) -> None:
        await self.produce()
        await self.runs[at].aclose()
        await self.produce()

    def has_finished(self) -> bool:
        return all(
            len(set().union(*(stage.offsets[tp] for stage in self.stages))) == end for tp, end in self.produced.items()
        )


def test_members_come_and_go_and_every_record_is_seen_in_order(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient, seed: int
) -> None:
    topic = "come-and-go"
    make_topic(broker_admin, topic, partitions=3)

    async def go() -> None:
        crowd = Crowd(topic, broker_settings, tmp_path, random.Random(seed))
        sampler = Sampler(broker_admin, topic, lambda _: [crowd.stages])
        sampling = asyncio.create_task(sampler.run())
        async with crowd.runs[0], crowd.runs[1], crowd.runs[2]:
            for step in (0, 1, 2):  # one member, two, three
                await crowd.enter(step)
            await until(crowd.has_finished)
            for step in (1, 0):  # two, one
                await crowd.leave(step)
            await until(crowd.has_finished)
            await until(lambda: sampling.done() or sampler.highest == crowd.produced)
        assert not sampling.done(), sampling.exception()
        sampling.cancel()
        assert sampler.samples > 20
        check_order(crowd.stages)

    asyncio.run(go())


def test_revocation_waits_for_the_chunk_in_flight_and_the_next_owner_starts_behind_it(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    topic = group = "in-flight"
    partitions = [TP(topic, 0), TP(topic, 1)]
    make_topic(broker_admin, topic, partitions=2)
    for tp in partitions:
        produce(broker_settings, topic, [b"a", b"b"], tp.partition)

    async def go() -> None:
        first, second = Stage("first"), Stage("second")
        members = [
            Member(group, broker_settings, tmp_path / stage.name, {topic: [stage]}, table_partitions=2)
            for stage in (first, second)
        ]
        first.open.clear()
        async with contextlib.AsyncExitStack() as run, members[0].running():
            await until(lambda: first.seen)
            joining = asyncio.create_task(run.enter_async_context(members[1].running()))
            await until(lambda: members[0].app.rebalancing)
            # The first member may not let go of what it works on, however long that takes.
            await never(lambda: second.seen or members[1].generation or committed(broker_admin, group))
            first.open.set()
            await joining
            await until(lambda: all(member.is_ready(2) for member in members))
            await until(lambda: committed(broker_admin, group) == dict.fromkeys(partitions, 2))
            in_flight = first.seen[0]
            assert first.finished[0] == in_flight
            repeated = [seen for seen in first.seen[1:] + second.seen if seen.tp == in_flight.tp]
            assert repeated == []  # it was committed before the partition moved
            assert sum(len(stage.values[tp]) for stage in (first, second) for tp in partitions) == 4

    asyncio.run(go())


def test_late_done_of_an_old_generation_frees_nothing_of_the_new_one(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """A sink says `done` long after its handler returned; meanwhile the partition was revoked and came back."""
    topic = group = "late-done"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    produce(broker_settings, topic, [b"a", b"b"])

    async def go() -> None:
        queued: list[Chunk] = []

        async def queue(chunk: Chunk) -> None:
            queued.append(chunk)

        member = Member(group, broker_settings, tmp_path, {})
        register(member.app, member.state, topic, "sink", queue)
        async with member.running():
            await until(lambda: queued)
            old, generation = queued.pop(), member.generation
            member.rejoin()
            await until(lambda: queued)
            new = queued.pop()
            assert (new.first_offset, new.next_offset) == (old.first_offset, old.next_offset) == (0, 2)
            assert new.generation > old.generation == generation
            old.done()
            await never(lambda: committed(broker_admin, group))
            new.done()
            await until(lambda: committed(broker_admin, group) == {tp: 2})

    asyncio.run(go())
