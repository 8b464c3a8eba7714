"""One local broker for the whole test session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redpanda import admin
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka import KafkaAdminClient

__all__ = ["broker_admin", "broker_settings", "local_broker"]


@pytest.fixture(scope="session")
def local_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """Apache Kafka on a free port, without topics. Tests share it: name your topics after your test."""
    with LocalBroker(tmp_path_factory.mktemp("broker"), free_port()) as broker:
        yield broker


@pytest.fixture(scope="session")
def broker_settings(local_broker: LocalBroker) -> BrokerSettings:
    """Settings that point to the session's broker."""
    return BrokerSettings(broker_url=local_broker.url)


@pytest.fixture(scope="session")
def broker_admin(broker_settings: BrokerSettings) -> Iterator[KafkaAdminClient]:
    """An open admin client of the session's broker."""
    with admin.connect(broker_settings) as client:
        yield client
