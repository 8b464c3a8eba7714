"""Partitions beside each other, the chunks of each one after the other, on a real broker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from agents.chunk import Chunk
from agents.lanes import Lanes
from redpanda.settings import BrokerSettings
from tests.support.members import Member, Stage, committed, make_topic, never, produce
from tests.support.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.usefixtures("collected")]


def test_partition_whose_handler_waits_holds_up_no_other(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    topic = group = "lanes-held"
    held, free = TP(topic, 0), TP(topic, 1)
    make_topic(broker_admin, topic, 2)

    async def go() -> None:
        stage, gate = Stage(), asyncio.Event()

        async def wait(chunk: Chunk) -> None:
            if chunk.tp.partition == held.partition:
                await gate.wait()

        stage.work = wait
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running() as member:
            await until(member.is_ready)
            await asyncio.to_thread(produce, broker_settings, topic, [b"a"], 0)
            await until(lambda: stage.values[held] == [b"a"])
            await asyncio.to_thread(produce, broker_settings, topic, [b"b", b"c"], 1)
            await until(lambda: committed(broker_admin, group).get(free) == 2)
            await never(lambda: committed(broker_admin, group).get(held))
            gate.set()
            await until(lambda: committed(broker_admin, group) == {held: 1, free: 2})

    asyncio.run(go())


def test_chunks_of_a_partition_never_overlap_and_keep_their_order(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    topic = group = "lanes-order"
    places = [TP(topic, 0), TP(topic, 1)]
    make_topic(broker_admin, topic, 2)

    async def go() -> None:
        stage = Stage()
        stage.open.clear()
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running() as member:
            await until(member.is_ready)
            pending = member.consumer._pending
            for at in range(3):
                for tp in places:
                    await asyncio.to_thread(produce, broker_settings, topic, [b"%d" % at], tp.partition)
                await until(lambda: all(len(pending[tp]) == at + 1 for tp in places))  # noqa: B023  # waited for at once
            await never(lambda: len(stage.seen) > len(places))
            assert {seen.tp for seen in stage.seen} == set(places)
            stage.open.set()
            await until(lambda: stage.values == {tp: [b"0", b"1", b"2"] for tp in places})
            await until(lambda: committed(broker_admin, group) == dict.fromkeys(places, 3))

    asyncio.run(go())


def test_rows_of_partitions_at_once_go_to_the_changelog_of_their_own(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """Faust takes the partition of a row from the event at hand, which it holds by a weak reference only."""
    topic = group = "lanes-rows"
    make_topic(broker_admin, topic, 2)

    async def go() -> str:
        stage, both = Stage(), asyncio.Barrier(2)
        member = Member(group, broker_settings, tmp_path, {topic: [stage]}, table_partitions=2)

        async def write(chunk: Chunk) -> None:
            await both.wait()  # the agent has long gone on to the next event
            await both.wait()
            member.table[b"of %d" % chunk.tp.partition] = chunk.values[0]

        stage.work = write
        async with member.running():
            await until(member.is_ready)
            for partition in (0, 1):
                await asyncio.to_thread(produce, broker_settings, topic, [b"row"], partition)
            await until(lambda: committed(broker_admin, group) == {TP(topic, 0): 1, TP(topic, 1): 1})
        return str(member.table.changelog_topic_name)

    changelog = asyncio.run(go())
    consumer = KafkaConsumer(bootstrap_servers=broker_settings.broker_url, consumer_timeout_ms=5_000)
    partitions = [TopicPartition(changelog, partition) for partition in (0, 1)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    assert {(record.partition, record.key) for record, _ in zip(consumer, partitions, strict=False)} == {
        (0, b"of 0"),
        (1, b"of 1"),
    }
    consumer.close()


class Event:
    """What a lane needs of Faust's event: its chunk, and who is through with it."""

    def __init__(self, count: int) -> None:
        records: list[Any] = [ConsumerRecord("t", 0, at, 0, 1, None, b"v", None, 0, 1, ()) for at in range(count)]
        self.value = Chunk(TP("t", 0), records, 1, 1)
        self.message = self
        self.references = 1

    def incref(self) -> None:
        self.references += 1

    def ack(self) -> None:
        self.references -= 1


def test_tick_behind_a_chunk_in_hand_is_left_out() -> None:
    """They come each second; behind a handler that waits for a minute there must not be sixty of them."""
    gate, seen = asyncio.Event(), list[int]()

    async def run(chunk: Chunk) -> None:
        seen.append(len(chunk))
        await gate.wait()

    async def go() -> None:
        app = SimpleNamespace(add_future=asyncio.ensure_future)
        lanes = Lanes(app, run)  # type: ignore[arg-type]  # all that it asks of an app
        events = [Event(2), Event(0), Event(0), Event(1)]
        for event in events:
            lanes.put(event)
        await until(lambda: seen == [2])
        assert [event.references for event in events] == [2, 1, 1, 2]
        gate.set()
        await until(lambda: all(event.references == 1 for event in events))
        assert seen == [2, 1]
        lanes.put(Event(0))
        await until(lambda: seen == [2, 1, 0])

    asyncio.run(go())
