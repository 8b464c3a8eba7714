"""`apply` makes a real cluster match the declared topics."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from redpanda import admin
from redpanda.errors import ConfigError, UnreachableError
from redpanda.settings import BrokerSettings
from redpanda.topics import LEASES, MARKET_STATS, TOPICS, TRAIN_REQUESTS, TopicSpec
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

component = pytest.mark.component


def _spec(name: str, cleanup: str = "compact,delete") -> tuple[TopicSpec]:
    return (TopicSpec(name, "a test's", cleanup, 3_600_000),)


@component
def test_second_apply_changes_nothing(broker_admin: KafkaAdminClient, broker_settings: BrokerSettings) -> None:
    admin.apply(broker_admin, broker_settings)
    second = admin.apply(broker_admin, broker_settings)
    assert second.empty
    rows = {row["name"]: row for row in broker_admin.describe_topics()}
    counts = {spec.name: len(rows[spec.name]["partitions"]) for spec in TOPICS}
    assert [counts.pop(name) for name in (LEASES, MARKET_STATS, TRAIN_REQUESTS)] == [1, 1, 1]
    assert set(counts.values()) == {broker_settings.partitions}


@component
def test_drifted_configuration_is_told_and_mended(
    broker_admin: KafkaAdminClient, broker_settings: BrokerSettings
) -> None:
    spec = _spec("admin-drift")
    first = admin.apply(broker_admin, broker_settings, topics=spec)
    assert first.missing == ("admin-drift",)
    drift = {"retention.ms": "1", "cleanup.policy": "delete,compact", "max.message.bytes": "5000"}
    broker_admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "admin-drift", drift)])
    wait_for(lambda: not admin.diff(broker_admin, broker_settings, spec).empty)  # a broker takes it over in its time
    found = admin.apply(broker_admin, broker_settings, topics=spec)
    assert found.configs == {"admin-drift": {"retention.ms": ("1", "3600000")}}
    assert "config    admin-drift: retention.ms is 1, declared 3600000" in found.lines()
    assert admin.diff(broker_admin, broker_settings, spec).empty


@component
def test_missing_partitions_are_added(broker_admin: KafkaAdminClient, broker_settings: BrokerSettings) -> None:
    spec = _spec("admin-grow")
    admin.apply(broker_admin, broker_settings.model_copy(update={"partitions": 2}), topics=spec)
    assert admin.apply(broker_admin, broker_settings, topics=spec).grow == {"admin-grow": (2, 4)}
    assert admin.diff(broker_admin, broker_settings, spec).empty


@component
def test_too_many_partitions_are_refused_before_anything_changes(
    broker_admin: KafkaAdminClient, broker_settings: BrokerSettings
) -> None:
    admin.apply(broker_admin, broker_settings, topics=_spec("admin-shrink"))
    fewer = broker_settings.model_copy(update={"partitions": 3})
    both = (*_spec("admin-shrink"), *_spec("admin-shrink-new"))
    with pytest.raises(ConfigError, match=r"has 4 partitions and TICKCAST_PARTITIONS is 3: .*=4"):
        admin.apply(broker_admin, fewer, topics=both)
    assert admin.diff(broker_admin, fewer, both).missing == ("admin-shrink-new",)


@component
def test_more_replicas_than_brokers_names_the_setting(
    broker_admin: KafkaAdminClient, broker_settings: BrokerSettings
) -> None:
    with pytest.raises(ConfigError, match="TICKCAST_REPLICATION is 3"):
        admin.apply(broker_admin, broker_settings.model_copy(update={"replication": 3}), topics=_spec("admin-copies"))


@component
def test_topics_of_the_broker_and_of_faust_are_not_prunable(
    broker_admin: KafkaAdminClient, broker_settings: BrokerSettings
) -> None:
    kept = ("admin-some-table-changelog", "tickcast-admin-assignor", "__admin_internal")
    broker_admin.create_topics(
        {name: {"num_partitions": 1, "replication_factor": 1} for name in (*kept, "admin-stranger")},
        wait_for_metadata=True,
    )
    found = admin.apply(broker_admin, broker_settings, topics=_spec("admin-known"))
    assert "admin-stranger" in found.prunable
    assert not set(kept) & set(found.prunable)
    assert "admin-stranger" in broker_admin.list_topics()


def test_unreachable_broker_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"127.0.0.1:{server.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"TICKCAST_BROKER_URL .*tickcast demo") as caught:
        admin.connect(BrokerSettings(broker_url=f"{url},{url}"))
    assert time.monotonic() - started < 2
    assert "\n" not in str(caught.value)


def test_listener_that_is_no_broker_is_told_in_time_and_leaves_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = BrokerSettings(broker_url=f"127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(UnreachableError, match="TICKCAST_BROKER_URL"):
            admin.connect(settings, timeout_s=1)
        assert time.monotonic() - started < 3
    assert set(threading.enumerate()) == before
    assert not caplog.records
