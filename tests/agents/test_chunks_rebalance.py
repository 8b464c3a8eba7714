"""Chunk delivery through rebalances, on a real broker: nothing skipped, nothing stuck."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from kafka import KafkaAdminClient

from redpanda.settings import BrokerSettings
from tests.support.members import Member, Stage, committed, make_topic, never, produce, until

pytestmark = pytest.mark.component


class Fetches:
    """Watches the fetches of a consumer, without changing them."""

    def __init__(self, member: Member) -> None:
        self.begun = 0
        self.records = 0
        consumer: Any = member.consumer
        self._fetch = consumer._getmany
        consumer._getmany = self._watched

    async def _watched(self, active: Any, limit_s: float) -> Any:
        self.begun += 1
        found = await self._fetch(active, limit_s)
        self.records += sum(map(len, found.values()))
        return found

    async def next_one(self) -> None:
        """Wait until another fetch has begun."""
        before = self.begun
        await until(lambda: self.begun > before)


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
