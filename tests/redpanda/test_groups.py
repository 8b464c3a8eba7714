"""What a real broker says of a group: from its first second on, and of one that nobody knows."""

from __future__ import annotations

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from redpanda.groups import committed_offsets, member_count
from redpanda.settings import BrokerSettings
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component

TOPIC = "groups-test"


def test_offsets_and_members_of_a_group(broker_settings: BrokerSettings, broker_admin: KafkaAdminClient) -> None:
    assert committed_offsets(broker_settings, "nobody") == {}
    assert member_count(broker_settings, "nobody") == 0
    made = {"num_partitions": 2, "replication_factor": 1}
    broker_admin.create_topics({TOPIC: made}, wait_for_metadata=True)
    broker_admin.alter_group_offsets(TOPIC, {TopicPartition(TOPIC, 1): OffsetAndMetadata(7, "", -1)})
    assert committed_offsets(broker_settings, TOPIC) == {(TOPIC, 1): 7}
    reader = KafkaConsumer(TOPIC, group_id=TOPIC, bootstrap_servers=broker_settings.broker_url)
    try:
        wait_for(
            lambda: reader.poll(1_000) == {} and reader.assignment(), 90
        )  # an answer that is lost is asked for again after 30 s
        assert member_count(broker_settings, TOPIC) == 1
    finally:
        reader.close()
    assert member_count(broker_settings, TOPIC) == 0
