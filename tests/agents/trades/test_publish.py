"""The publisher on a real broker: what it puts where."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiokafka.partitioner import murmur2 as peers_murmur2
from kafka.partitioner.default import murmur2

from agents.trades.publish import Publisher, open_producer
from agents.trades.source import Batch
from redpanda import admin
from redpanda.admin import connect
from redpanda.errors import ConfigError, UnreachableError
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.tail import Tail, last_records
from redpanda.topics import DEAD_LETTERS, HOLES, TOPICS, TRADES
from tables.records import Hole, Trade
from tests.support.publishing import one, publish
from tests.support.samples import hole
from tests.support.waiting import until, wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from kafka import KafkaAdminClient

pytestmark = pytest.mark.component


@pytest.fixture(scope="module", autouse=True)
def topics(broker_admin: KafkaAdminClient, broker_settings: BrokerSettings) -> None:
    admin.apply(broker_admin, broker_settings)


def records(broker: BrokerSettings, topic: str, pair: str) -> list[Tail]:
    rows = [row for part in last_records(broker, topic, 1_000_000).values() for row in part]
    return [row for row in rows if row.key == pair.encode()]


def test_a_hole_and_what_became_of_it_go_to_their_topic_in_order_and_are_counted(
    broker_settings: BrokerSettings,
) -> None:
    pair = "HOLE/USD"
    said = [
        hole(7, pair=pair),
        hole(40, pair=pair),
        hole(7, "repaired", pair=pair),
        hole(40, "unrepairable", pair=pair),
    ]
    publisher = publish(
        broker_settings, Batch(pair, holes=said[:2]), Batch(pair, [one(pair, 7)], holes=said[2:]), Batch(pair)
    )
    found = [msgspec.json.decode(row.value or b"", type=Hole) for row in records(broker_settings, HOLES, pair)]
    assert found == said
    assert publisher.holes == {"open": 2, "repaired": 1, "unrepairable": 1}
    assert (publisher.in_flight, publisher.published) == (0, 1)


def test_the_record_that_closes_a_hole_waits_for_the_trades_that_fill_it(broker_settings: BrokerSettings) -> None:
    """Else a process that dies between the two leaves a hole that nobody looks for any more."""
    pair, other = "WAITS/USD", "NOTHELD/USD"

    async def go() -> tuple[list[Tail], list[Tail]]:
        publisher = Publisher(open_producer(broker_settings), 600_000, 100_000)  # envelopes stay open
        await publisher.publish(Batch(pair, [one(pair, 7)], holes=[hole(7, pair=pair), hole(7, "repaired", pair=pair)]))
        await publisher.publish(Batch(other, holes=[hole(1, "unrepairable", pair=other)]))
        await until(lambda: publisher.in_flight == 2)  # the trade, and what waits for it
        before = records(broker_settings, HOLES, pair)
        assert len(records(broker_settings, HOLES, other)) == 1
        await publisher.drain()
        await publisher.close(5.0)
        return before, records(broker_settings, HOLES, pair)

    before, after = asyncio.run(go())
    assert [msgspec.json.decode(row.value or b"", type=Hole).state for row in before] == ["open"]
    assert [msgspec.json.decode(row.value or b"", type=Hole).state for row in after] == ["open", "repaired"]
    trade = records(broker_settings, TRADES, pair)[0]
    assert after[1].timestamp_ms >= trade.timestamp_ms


# Kafka's own test of the Java client's hash has these (UtilsTest.testMurmur2).
JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_keys_hash_as_the_java_client_hashes_them() -> None:
    signed = {key: (murmur2(key) & 0xFFFFFFFF) for key in JAVA_MURMUR2}
    assert signed == {key: value & 0xFFFFFFFF for key, value in JAVA_MURMUR2.items()}


def test_a_record_lies_in_the_partition_that_murmur2_gives_its_pair(broker_settings: BrokerSettings) -> None:
    for pair, partition in {"BTC/USD": 1, "ETH/USD": 3, "SOL/USD": 0, "ADA/USD": 1}.items():
        assert (peers_murmur2(pair.encode()) & 0x7FFFFFFF) % broker_settings.partitions == partition
        publish(broker_settings, Batch(pair, [one(pair, 1)], holes=[hole(pair=pair)]))
        for topic in (TRADES, HOLES):
            assert {row.partition for row in records(broker_settings, topic, pair)} == {partition}


def test_a_topic_that_is_missing_at_the_start_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with LocalBroker(tmp_path, free_port()) as broker, connect(BrokerSettings(broker_url=broker.url)) as client:
        settings = BrokerSettings(broker_url=broker.url, partitions=1)
        for name in (TRADES, HOLES, DEAD_LETTERS):
            with pytest.raises(ConfigError, match=f"topic {name} does not exist: create it with `tickcast topics app"):
                open_producer(settings)
            admin.apply(client, settings, topics=[spec for spec in TOPICS if spec.name == name])
        open_producer(settings).close()


def test_a_producer_that_may_not_send_holds_what_it_has_and_sends_it_later(broker_settings: BrokerSettings) -> None:
    asked: list[bool] = []
    allowed = [True]

    def may_send() -> bool:
        asked.append(allowed[0])
        return allowed[0]

    async def go() -> tuple[int, int]:
        publisher = Publisher(open_producer(broker_settings, may_send), 0, 100_000)
        await publisher.publish(Batch("FENCE/USD", [one("FENCE/USD", 1)]))
        await publisher.drain()
        allowed[0] = False
        await publisher.publish(Batch("FENCE/USD", [one("FENCE/USD", 2)]))
        await until(lambda: asked.count(False) >= 10)
        before = len(records(broker_settings, TRADES, "FENCE/USD"))
        allowed[0] = True
        await publisher.drain()
        await publisher.close(5.0)
        return before, len(records(broker_settings, TRADES, "FENCE/USD"))

    assert asyncio.run(go()) == (1, 2)


def give_up(publisher: Publisher) -> Awaitable[None]:
    return publisher.abandon()


def close_at_once(publisher: Publisher) -> Awaitable[None]:
    return publisher.close(0.1)


@pytest.mark.parametrize("end", [give_up, close_at_once])
def test_what_an_ended_producer_held_is_never_sent(
    broker_settings: BrokerSettings, end: Callable[[Publisher], Awaitable[None]]
) -> None:
    allowed = [False]
    pair = f"{end.__name__}/USD"

    async def go() -> None:
        publisher = Publisher(open_producer(broker_settings, lambda: allowed[0]), 0, 100_000)
        await publisher.publish(Batch(pair, [one(pair, 1)]))
        await end(publisher)
        allowed[0] = True
        with pytest.raises((UnreachableError, RuntimeError)):
            await publisher.publish(Batch(pair, [one(pair, 2)]))

    before = set(threading.enumerate())
    asyncio.run(go())
    wait_for(lambda: set(threading.enumerate()) <= before)  # it is joined for half a second only
    publish(broker_settings, Batch(pair, [one(pair, 3)]))
    rows = records(broker_settings, TRADES, pair)
    assert [msgspec.json.decode(row.value or b"", type=list[Trade])[0].trade_id for row in rows] == [3]
