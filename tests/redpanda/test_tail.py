"""The ends of topics are read from a real broker."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaProducer

from redpanda import admin
from redpanda.errors import ConfigError
from redpanda.tail import Tail, last_of
from redpanda.topics import TopicSpec

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

pytestmark = pytest.mark.component

TOPIC = "tail-records"
RARE_AT = 7
COUNT = 1_500


@pytest.fixture(scope="module")
def written(broker_admin: KafkaAdminClient, broker_settings: BrokerSettings) -> BrokerSettings:
    """1,500 records of three busy keys, and one of a rare key near the start."""
    spec = TopicSpec(TOPIC, "numbers", "delete", -1)
    admin.apply(broker_admin, broker_settings, topics=(spec, TopicSpec("tail-empty", "", "delete", -1)))
    with KafkaProducer(bootstrap_servers=broker_settings.broker_url, acks="all", linger_ms=20) as producer:
        for number in range(COUNT):
            key = b"rare" if number == RARE_AT else f"busy{number % 3}".encode()
            producer.send(TOPIC, key=key, value=str(number).encode())
        producer.flush()
    return broker_settings


def test_end_offsets_count_every_record(written: BrokerSettings) -> None:
    ends = admin.end_offsets(written, [TOPIC, "tail-empty"])
    assert sum(end for (topic, _), end in ends.items() if topic == TOPIC) == COUNT
    assert {place: ends[place] for place in ends if place[0] == "tail-empty"} == {
        ("tail-empty", number): 0 for number in range(written.partitions)
    }


def test_last_records_are_the_newest_of_each_partition(written: BrokerSettings) -> None:
    ends = admin.end_offsets(written, [TOPIC])
    rows = admin.last_records(written, TOPIC, 3)
    assert rows.keys() == set(range(written.partitions))
    for number, records in rows.items():
        end = ends[TOPIC, number]
        assert [record.offset for record in records] == list(range(max(0, end - 3), end))
        assert all(record.partition == number and record.timestamp_ms > 0 for record in records)
    newest = max(int(record.value or b"") for records in rows.values() for record in records)
    assert newest == COUNT - 1


def test_tail_reads_one_partition(written: BrokerSettings) -> None:
    everywhere = admin.last_records(written, TOPIC, 2)
    number = max(everywhere, key=lambda one: len(everywhere[one]))
    assert len(everywhere[number]) == 2
    assert admin.tail(written, TOPIC, number, 2) == everywhere[number]


def test_last_record_of_a_quiet_key_is_found_far_back(written: BrokerSettings) -> None:
    found = admin.last_by_key(written, TOPIC, [b"rare", b"busy0", b"never"])
    assert {key: record.value for key, record in found.items()} == {
        b"rare": str(RARE_AT).encode(),
        b"busy0": str(COUNT - 3).encode(),
    }


def test_last_records_by_key_may_be_bounded_refused_and_of_every_key(written: BrokerSettings) -> None:
    everywhere = admin.last_by_key(written, TOPIC, None, COUNT)
    assert everywhere.keys() == {b"rare", b"busy0", b"busy1", b"busy2"}
    assert admin.last_by_key(written, TOPIC, [b"rare"], 10) == {}
    odd = admin.last_by_key(written, TOPIC, [b"busy0"], accept=lambda row: int(row.value or b"") < COUNT // 2)
    assert int(odd[b"busy0"].value or b"") == COUNT // 2 - 3


def test_the_last_record_is_the_one_that_lies_last_although_the_clock_was_set_back(
    broker_admin: KafkaAdminClient, broker_settings: BrokerSettings
) -> None:
    """Else ingest goes on behind a trade that is not the last, and publishes the last ones twice."""
    spec = TopicSpec("tail-clock", "", "delete", -1, more={"message.timestamp.type": "CreateTime"})
    admin.apply(broker_admin, broker_settings, topics=(spec,))
    with KafkaProducer(bootstrap_servers=broker_settings.broker_url, acks="all") as producer:
        for number, (partition, ahead_ms) in enumerate([(0, 9), (0, 4), (0, 5), (0, 3), (1, 8), (1, 2)]):
            key = b"moved" if partition else b"stays"
            stamp_ms = 1_700_000_000_000 + ahead_ms
            producer.send("tail-clock", str(number).encode(), key, partition=partition, timestamp_ms=stamp_ms)
        producer.send("tail-clock", b"later", b"moved", partition=2, timestamp_ms=1_700_000_000_003)
    found = admin.last_by_key(broker_settings, "tail-clock", None, COUNT)
    assert {key: row.value for key, row in found.items()} == {b"stays": b"3", b"moved": b"later"}


@pytest.mark.parametrize("order", sorted(set(permutations([0, 0, 0, 1, 1, 2]))))
def test_the_last_record_of_a_key_is_the_same_whatever_partition_is_read_first(order: tuple[int, ...]) -> None:
    """A broker answers for the partitions in any order; ingest must not resume in another place for it."""
    left = {
        partition: [Tail(partition, offset, ahead_ms, b"moved", None) for offset, ahead_ms in enumerate(clock)]
        for partition, clock in enumerate([(9, 1, 2), (8, 2), (3,)])
    }
    found = last_of(left[partition].pop(0) for partition in order)
    assert found == {b"moved": Tail(2, 0, 3, b"moved", None)}


def test_empty_topic_has_no_records(written: BrokerSettings) -> None:
    assert admin.last_records(written, "tail-empty", 5) == {number: [] for number in range(written.partitions)}
    assert admin.last_by_key(written, "tail-empty", [b"x"]) == {}


def test_missing_topic_names_the_command_that_creates_it(written: BrokerSettings) -> None:
    with pytest.raises(ConfigError, match=r"topic tail-nowhere does not exist: .*tickcast topics apply"):
        admin.last_records(written, "tail-nowhere", 1)
