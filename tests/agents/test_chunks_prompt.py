"""Chunks come in time: no partition waits for the others, and no live candle for the next trade."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from faust.types import TP
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES_LIVE, TRADES
from tables.records import Candle, Trade
from tests.support.members import Member, Stage, make_topic, produce
from tests.support.waiting import until, wait_for
from tests.support.worker import Worker, own_broker

__all__ = ["own_broker"]

pytestmark = [pytest.mark.component, pytest.mark.proof, pytest.mark.usefixtures("collected")]
PAIR, PARTITION = "ETH/USD", 3
TRADES_SENT = 6
THROTTLE_MS = 200


def test_partition_that_a_rebalance_has_just_taken_stops_nothing(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """The consumer's thread learns of it first: aiokafka then refuses to say where the partition ends."""
    topic = "taken-away"
    make_topic(broker_admin, topic)

    async def go() -> None:
        async with Member(topic, broker_settings, tmp_path, {topic: [Stage()]}).running() as member:
            await until(member.is_ready)
            assert member.consumer._backlog(TP(topic, 99)) == 1, "what is not known may be unread"

    asyncio.run(go())


def test_topic_that_is_not_known_yet_has_no_number_of_partitions(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """A changelog that another worker made while this one joined is 0 partitions wide to aiokafka."""
    topic = "not-known-yet"
    make_topic(broker_admin, topic)

    async def go() -> None:
        async with Member(topic, broker_settings, tmp_path, {topic: [Stage()]}).running() as member:
            await until(member.is_ready)
            member.coordinator._metadata_snapshot["just-made"] = 0
            assert member.consumer.topic_partitions(topic) == 1
            assert member.consumer.topic_partitions("just-made") is None

    asyncio.run(go())


def test_record_behind_a_slow_handler_does_not_wait_for_the_other_partitions(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """aiokafka leaves a partition that is not read out of its next fetch, which lasts until another has records."""
    topic = "slow-once"
    make_topic(broker_admin, topic, partitions=2)
    tp = TP(topic, 0)

    async def go() -> None:
        stage = Stage()
        async with Member(topic, broker_settings, tmp_path, {topic: [stage]}, topic_partitions=2).running() as member:
            await until(member.is_ready)
            consumer: Any = member.consumer
            unread: dict[TP, Any] = consumer._thread._ensure_consumer()._fetcher._records
            stage.open.clear()
            sent = 0
            while not (consumer._is_busy(tp) and tp in unread):
                sent = await asyncio.to_thread(produce, broker_settings, topic, [b"x"])
            await until(lambda: tp in unread and unread[tp].calculate_backoff() == 0)
            stage.open.set()
            await until(lambda: stage.durable(tp) == sent)
            begun_s = time.monotonic()
            await asyncio.to_thread(produce, broker_settings, topic, [b"y"])
            await until(lambda: stage.durable(tp) == sent + 1)
            assert time.monotonic() - begun_s < 0.75

    asyncio.run(go())


def test_live_candle_that_was_held_back_goes_out_without_another_trade(
    tmp_path: Path, own_broker: BrokerSettings
) -> None:
    """Each trade comes right behind the live candle of the last: it shows 200 ms after that one (broker time)."""
    worker = Worker(tmp_path, own_broker.broker_url, "candles")
    worker.start()
    producer = KafkaProducer(bootstrap_servers=own_broker.broker_url, acks="all")
    reader = KafkaConsumer(bootstrap_servers=own_broker.broker_url, enable_auto_commit=False)
    try:
        wait_for(worker.is_live, 60)
        place = TopicPartition(CANDLES_LIVE, PARTITION)
        reader.assign([place])
        reader.seek_to_beginning(place)
        now_ns = time.time_ns()
        seen: list[tuple[int, int, int]] = []
        for trade_id in range(1, TRADES_SENT + 1):
            trade = Trade(PAIR, trade_id, now_ns + trade_id, 100.0, 1.0, "buy")
            sent = producer.send(TRADES, msgspec.json.encode([trade]), key=PAIR.encode(), partition=PARTITION)
            traded_ms = sent.get(10).timestamp
            live = wait_for(lambda: reader.poll(timeout_ms=1_000).get(place), 20)[0]
            seen.append((msgspec.json.decode(live.value, type=Candle).last_trade_id, traded_ms, live.timestamp))
        assert [trade_id for trade_id, _, _ in seen] == list(range(1, TRADES_SENT + 1))
        for (_, _, before_ms), (_, traded_ms, live_ms) in pairwise(seen):
            assert live_ms - max(traded_ms, before_ms + THROTTLE_MS) < 300
    finally:
        reader.close()
        producer.close()
        worker.close()
