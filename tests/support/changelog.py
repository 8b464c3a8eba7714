"""Cutting a changelog at its head, as a policy that deletes would."""

from __future__ import annotations

from collections.abc import Mapping

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import BrokerResponseError

from redpanda.admin import connect
from redpanda.settings import BrokerSettings
from tests.support.waiting import wait_for

__all__ = ["cut_head"]


def cut_head(broker: BrokerSettings, topic: str, cuts: Mapping[int, int]) -> None:
    """Delete what lies below an offset, by partition (-1: everything).

    A compacted topic allows that only while its policy says `delete` as well.
    """
    wanted = {TopicPartition(topic, partition): offset for partition, offset in cuts.items()}
    with connect(broker) as admin:
        for policy in ("compact,delete", "compact"):
            config = {"cleanup.policy": policy, "retention.ms": "-1"}
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])
            if policy != "compact":
                wait_for(lambda: _is_deleted(admin, wanted), 20, every_s=0.1)


def _is_deleted(admin: KafkaAdminClient, wanted: dict[TopicPartition, int]) -> bool:
    try:
        admin.delete_records(wanted)
    except BrokerResponseError as error:  # the new policy takes a moment to arrive
        if "PolicyViolation" not in str(error):
            raise
        return False
    return True
