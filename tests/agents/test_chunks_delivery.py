"""What reaches a handler, and when: gaps, pauses, recovery, slow and failing handlers, plain topics beside chunks."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

import agents.chunks
from agents.chunk import Chunk
from agents.stage import dead_letter, register
from redpanda.settings import BrokerSettings
from tests.support.members import Fetches, Member, Stage, committed, make_topic, never, produce
from tests.support.waiting import until, wait_for

pytestmark = [pytest.mark.component, pytest.mark.proof, pytest.mark.usefixtures("collected")]


def test_records_that_a_fetch_lost_are_fetched_again(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    topic = group = "lost-fetch"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)

    async def go() -> None:
        stage = Stage()
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running() as member:
            await until(member.is_ready)
            fetches = Fetches(member)
            aiokafka = member.consumer._thread._ensure_consumer()
            seek = aiokafka.seek

            def watched_seek(*where: Any) -> None:
                sought_in.add(threading.get_ident())
                seek(*where)

            aiokafka.seek = watched_seek
            fetches.lose = 1
            await fetches.next_one()
            await asyncio.to_thread(produce, broker_settings, topic, [b"a", b"b"])
            await until(lambda: fetches.lose == 0)
            await asyncio.to_thread(produce, broker_settings, topic, [b"c"])
            await until(lambda: stage.values[tp] == [b"a", b"b", b"c"])
            await until(lambda: committed(broker_admin, group).get(tp) == 3)

    sought_in: set[int] = set()
    asyncio.run(go())
    assert sought_in, "nothing was sought"
    assert threading.get_ident() not in sought_in, "aiokafka's tables belong to the thread that fetches"
    assert re.search(r"expected offset 0, got [12]; fetching again", caplog.text)  # one fetch or two bring them


def test_partition_that_is_paused_while_its_records_come_gives_them_when_it_goes_on(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    topic = group = "paused"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)

    async def go() -> None:
        stage = Stage()
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running() as member:
            await until(member.is_ready)
            fetches = Fetches(member)
            for number in range(3):
                values = [b"%d" % number] * 100
                await fetches.next_one()
                member.consumer.pause_partitions({tp})
                brought = fetches.records
                await asyncio.to_thread(produce, broker_settings, topic, values)
                await until(lambda brought=brought: fetches.records > brought or not fetches.open)  # type: ignore[misc]
                await never(lambda before=number * 100: len(stage.values[tp]) > before, for_s=0.3)  # type: ignore[misc]
                member.consumer.resume_partitions({tp})
                await until(lambda end=(number + 1) * 100: len(stage.values[tp]) == end)  # type: ignore[misc]
            assert stage.values[tp] == [b"0"] * 100 + [b"1"] * 100 + [b"2"] * 100

    asyncio.run(go())


def test_first_chunk_finds_the_whole_table(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """A worker that starts without its folder reads the changelog to its end before any chunk is delivered."""
    topic = group = "recovery"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    rows = 3_000
    produce(broker_settings, topic, [b"%d" % number for number in range(rows)])

    async def run(home: Path, stage: Stage, end: int) -> None:
        member = Member(group, broker_settings, home, {topic: [stage]}, table_partitions=1, store="rocksdb://")

        async def work(chunk: Chunk) -> None:
            before = range(min(chunk.first_offset, rows))
            assert [number for number in before if b"%d" % number not in member.table] == []
            for value in chunk.values:
                member.table[value] = value

        stage.work = work
        async with member.running():
            await until(lambda: member.app.crashed or stage.durable(tp) == end)
            assert not member.app.crashed, member.app.crash_reason
            await until(lambda: committed(broker_admin, group).get(tp) == end)

    asyncio.run(run(tmp_path / "first", Stage(), rows))
    produce(broker_settings, topic, [b"later"])
    again = Stage()
    again.offsets[tp].update(range(rows))
    asyncio.run(run(tmp_path / "second", again, rows + 1))
    assert again.values[tp] == [b"later"]


def test_slow_handler_holds_its_topic_and_nothing_else(
    tmp_path: Path,
    broker_settings: BrokerSettings,
    broker_admin: KafkaAdminClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Small chunks may be more; here every chunk counts as a large one.
    monkeypatch.setattr(agents.chunks, "SMALL_BYTES", 0)
    slow_topic, other_topic, group = "slow", "beside-slow", "slow"
    make_topic(broker_admin, slow_topic)
    make_topic(broker_admin, other_topic)
    tp, beside = TP(slow_topic, 0), TP(other_topic, 0)

    async def go() -> None:
        fast, slow, other = Stage("fast"), Stage("slow"), Stage("other")
        slow.open.clear()
        member = Member(group, broker_settings, tmp_path, {slow_topic: [fast, slow], other_topic: [other]})
        async with member.running():
            await until(member.is_ready)
            end = 0
            for _ in range(5):
                before = len(fast.seen)
                end = await asyncio.to_thread(produce, broker_settings, slow_topic, [b"a"] * 10)
                await until(lambda: len(fast.seen) > before or member.consumer._is_busy(tp))  # noqa: B023
            # One chunk in the slow handler and two before it; what is beyond stays at the broker.
            assert (len(slow.seen), len(fast.seen)) == (1, 1 + agents.chunks.MAX_UNTAKEN_CHUNKS)
            await asyncio.to_thread(produce, broker_settings, other_topic, [b"b"])
            await until(lambda: committed(broker_admin, group) == {beside: 1})
            await never(lambda: committed(broker_admin, group).get(tp))
            slow.open.set()
            await until(lambda: committed(broker_admin, group) == {beside: 1, tp: end})
            assert slow.durable(tp) == fast.durable(tp) == end

    asyncio.run(go())


def test_handler_that_finishes_later_is_given_no_more_than_the_limit_of_bytes(
    tmp_path: Path,
    broker_settings: BrokerSettings,
    broker_admin: KafkaAdminClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topic = group = "too-many-bytes"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    monkeypatch.setattr(agents.chunks, "MAX_PENDING_BYTES", 1_000)

    async def go() -> None:
        queued: list[Chunk] = []

        async def queue(chunk: Chunk) -> None:
            queued.append(chunk)

        member = Member(group, broker_settings, tmp_path, {})
        register(member.app, member.state, topic, "sink", queue)
        async with member.running():
            await until(member.is_ready)
            for _ in range(4):
                await asyncio.to_thread(produce, broker_settings, topic, [b"x" * 400])
                await until(lambda: member.consumer._backlog(tp) == 0 or member.consumer._is_busy(tp))
            assert [len(chunk) for chunk in queued] == [1, 1, 1]
            queued[0].done()
            await until(lambda: len(queued) == 4)
            await until(lambda: committed(broker_admin, group) == {tp: 1})
            queued[2].done()
            await never(lambda: committed(broker_admin, group)[tp] > 1, for_s=0.5)
            queued[1].done()
            await until(lambda: committed(broker_admin, group) == {tp: 3})

    asyncio.run(go())


def test_handler_that_raises_stops_the_worker_before_the_next_chunk(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    topic = group = "poison"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    produce(broker_settings, topic, [b"good"])

    async def go() -> None:
        stage = Stage()

        async def work(chunk: Chunk) -> None:
            if b"poison" in chunk.values:
                raise RuntimeError("cannot fold")

        stage.work = work
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running() as member:
            await until(lambda: committed(broker_admin, group).get(tp) == 1)
            stage.open.clear()
            await asyncio.to_thread(produce, broker_settings, topic, [b"poison"])
            await until(lambda: len(stage.seen) == 2)
            await asyncio.to_thread(produce, broker_settings, topic, [b"behind"])
            await until(lambda: len(member.consumer._pending[tp]) == 2)
            stage.open.set()
            await until(lambda: member.app.crashed)
            await never(lambda: len(stage.seen) > 2 or committed(broker_admin, group)[tp] > 1)
            assert member.state.failed is not None
            assert "cannot fold" in member.state.failed
        assert committed(broker_admin, group) == {tp: 1}

    asyncio.run(go())


def test_plain_topic_beside_chunks_is_acked_and_committed_by_event(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    chunked, plain, group = "mixed-chunked", "mixed-plain", "mixed"
    make_topic(broker_admin, chunked)
    make_topic(broker_admin, plain)

    async def go() -> None:
        stage = Stage()
        member = Member(group, broker_settings, tmp_path, {chunked: [stage]}, table_partitions=1)
        events: list[bytes] = []
        third = asyncio.Event()

        async def agent(stream: Any) -> None:
            async for value in stream:
                events.append(value)
                if len(events) == 3:
                    await third.wait()

        source = member.app.topic(plain, key_serializer="raw", value_serializer="raw", internal=False)
        member.app.agent(source, name="plain")(agent)
        async with member.running():
            await until(member.is_ready)
            values = [b"%d" % number for number in range(500)]
            stage.open.clear()
            await asyncio.to_thread(produce, broker_settings, plain, values)
            await asyncio.to_thread(produce, broker_settings, chunked, values)
            await until(lambda: len(events) == 3 and stage.seen)
            await until(lambda: committed(broker_admin, group).get(TP(plain, 0)) == 2)
            await never(lambda: committed(broker_admin, group) != {TP(plain, 0): 2})
            stage.open.set()
            await until(lambda: committed(broker_admin, group) == {TP(plain, 0): 2, TP(chunked, 0): 500})
            third.set()
            await until(lambda: committed(broker_admin, group) == {TP(plain, 0): 500, TP(chunked, 0): 500})
            assert events == stage.values[TP(chunked, 0)] == values

    asyncio.run(go())


def test_compacted_topic_with_real_gaps_is_read_whole(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    topic = group = "compacted"
    tp = TP(topic, 0)
    make_topic(
        broker_admin,
        topic,
        cleanup_policy="compact",
        segment_ms="50",
        min_cleanable_dirty_ratio="0.01",
        min_compaction_lag_ms="0",
    )
    often = ConfigResource(ConfigResourceType.BROKER, "1", configs={"log.cleaner.backoff.ms": "100"})
    broker_admin.alter_configs([often])
    end = 0

    def compacted() -> list[tuple[int, bytes]]:
        nonlocal end
        end = produce(broker_settings, topic, [b"%d" % number for number in range(20)], keys=4)
        found = records(broker_settings, topic)
        return found if len(found) < end - 100 else []

    wait_for(compacted, 60)
    left = records(broker_settings, topic)
    gone = next(at for at in range(1, end) if at not in dict(left) and at - 1 not in dict(left))
    other = KafkaConsumer(bootstrap_servers=broker_settings.broker_url, group_id=group, enable_auto_commit=False)
    other.assign([TopicPartition(topic, 0)])
    other.commit({TopicPartition(topic, 0): OffsetAndMetadata(gone, "", -1)})
    other.close()

    async def go() -> None:
        stage = Stage()
        offsets: list[int] = []

        async def work(chunk: Chunk) -> None:
            offsets.extend(dead_letter(chunk, at, "stage", "reason", "detail").offset for at in range(len(chunk)))

        stage.work = work
        caplog.set_level(logging.WARNING)
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running():
            await until(lambda: committed(broker_admin, group).get(tp) == end)
        expected = [one for one in records(broker_settings, topic) if one[0] >= gone]
        assert list(zip(offsets, stage.values[tp], strict=True))[-len(expected) :] == expected

    asyncio.run(go())
    assert "fetching again" not in caplog.text  # its fetch began in the gap: it is real


def records(broker: BrokerSettings, topic: str) -> list[tuple[int, bytes]]:
    """Read what the log still holds."""
    consumer = KafkaConsumer(bootstrap_servers=broker.broker_url, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    found: list[tuple[int, bytes]] = []
    while consumer.position(partition) < end:
        for part in consumer.poll(timeout_ms=200).values():
            found += [(record.offset, record.value) for record in part]
    consumer.close()
    return found
