"""What is committed is durable: at every sampled moment, on a real broker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from agents.chunk import Chunk
from redpanda.settings import BrokerSettings
from tests.support.members import Member, Stage, committed, make_topic, never, produce
from tests.support.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.proof, pytest.mark.usefixtures("collected")]


def test_offset_waits_for_the_changelog_record_of_its_chunk(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """Faust's flush waits a tenth of a second for its buffer, and not at all for the record that it is sending."""
    topic = group = "held-changelog"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    produce(broker_settings, topic, [b"a", b"b"])

    async def go() -> None:
        stage = Stage()
        member = Member(group, broker_settings, tmp_path, {topic: [stage]}, table_partitions=1)
        stage.work = lambda chunk: write(member, chunk)
        async with member.running():
            broker_is_back = asyncio.Event()
            producer: Any = member.app.producer
            send = producer.send

            async def send_held(name: str, *args: Any, **kwargs: Any) -> Any:
                # As a full batch of a partition does while its broker does not answer.
                if name.endswith("-changelog"):
                    await broker_is_back.wait()
                return await send(name, *args, **kwargs)

            producer.send = send_held
            await until(lambda: stage.durable(tp) == 2)
            await never(lambda: committed(broker_admin, group).get(tp))
            broker_is_back.set()
            await until(lambda: committed(broker_admin, group).get(tp) == 2)

    asyncio.run(go())


def test_changelog_record_that_the_broker_refuses_stops_the_worker_and_commits_nothing(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """Faust logs a warning; with the offset committed, and the folder lost, the row would be lost with it."""
    topic = group = "refused-changelog"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)

    async def go() -> None:
        stage = Stage()
        member = Member(group, broker_settings, tmp_path, {topic: [stage]}, table_partitions=1)
        stage.work = lambda chunk: write(member, chunk)
        async with member.running():
            await until(member.is_ready)
            limit = ConfigResource(
                ConfigResourceType.TOPIC, member.table.changelog_topic_name, configs={"max.message.bytes": "500"}
            )
            await asyncio.to_thread(broker_admin.alter_configs, [limit])
            await asyncio.to_thread(produce, broker_settings, topic, [b"x" * 5_000])
            await until(lambda: member.app.crashed)
            assert stage.finished
            assert "MessageSizeTooLarge" in repr(member.app.crash_reason)
        assert committed(broker_admin, group).get(tp) is None

    asyncio.run(go())


async def write(member: Member, chunk: Chunk) -> None:
    for value in chunk.values:
        member.table[b"k"] = value


def test_log_that_ends_before_the_committed_offset_is_read_from_its_start(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """A broker that lost its newest records counts on from an older offset: what comes then is new, no repeat."""
    topic = group = "cut-log"
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    produce(broker_settings, topic, [b"a", b"b"])
    other = KafkaConsumer(bootstrap_servers=broker_settings.broker_url, group_id=group, enable_auto_commit=False)
    other.assign([TopicPartition(topic, 0)])
    other.commit({TopicPartition(topic, 0): OffsetAndMetadata(100, "", -1)})
    other.close()

    async def go() -> None:
        stage = Stage()
        async with Member(group, broker_settings, tmp_path, {topic: [stage]}).running():
            await until(lambda: stage.values[tp] == [b"a", b"b"])
            await asyncio.to_thread(produce, broker_settings, topic, [b"c"])
            await until(lambda: stage.values[tp] == [b"a", b"b", b"c"])
            await until(lambda: committed(broker_admin, group).get(tp) == 3)

    asyncio.run(go())
