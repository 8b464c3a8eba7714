from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redpanda import admin
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from tables.clickhouse import migrate
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tests.api.seeded import PAIR, seed
from tests.api.stack import Api, Topics, running_api
from tests.support.samples import forecast
from tests.support.waiting import wait_for


@pytest.fixture(scope="session")
def api_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker of its own: the API reads topics by their real names, and one test takes the broker away."""
    with LocalBroker(tmp_path_factory.mktemp("api-broker"), free_port()) as broker:
        settings = BrokerSettings(broker_url=broker.url, partitions=2)
        with admin.connect(settings) as client:
            admin.apply(client, settings)
        yield broker


@pytest.fixture(scope="session")
def store_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    """The local store in a process of its own, migrated."""
    home = tmp_path_factory.mktemp("api-store")
    url = f"local://{home}/store"
    environment = os.environ | {"TICKCAST_CLICKHOUSE_URL": url, "TICKCAST_STORE_PORT": "0"}
    process = subprocess.Popen([sys.executable, "-m", "tables.clickhouse.local", "--home", home], env=environment)
    try:
        patient = StoreSettings(clickhouse_url=url, store_connect_timeout_s=60)
        client = connect(patient)
        migrate.apply(client)
        client.close()
        yield patient.model_copy(update={"store_connect_timeout_s": 0.1, "store_request_timeout_s": 4})
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def topics(api_broker: LocalBroker) -> Iterator[Topics]:
    with Topics(api_broker.url) as writer:
        yield writer


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, api_broker: LocalBroker, store_settings: StoreSettings
) -> Iterator[Api]:
    """One ready API for all tests of a module that need no settings of their own.

    Not for the session: its threads use `random`, which Hypothesis forbids beside its own tests.
    """
    with running_api(tmp_path_factory.mktemp("api"), api_broker.url, store_settings) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def seeded(
    tmp_path_factory: pytest.TempPathFactory, api_broker: LocalBroker, store_settings: StoreSettings
) -> Iterator[Api]:
    """An API whose every list has rows."""
    home = tmp_path_factory.mktemp("seeded")
    seed(store_settings, home)
    with running_api(home, api_broker.url, store_settings) as api, Topics(api_broker.url) as topics:
        topics.put("forecasts", [forecast(index, PAIR, horizon_s) for index in range(3) for horizon_s in (60, 300)])
        api.wait_ready()
        wait_for(lambda: PAIR in api.context.view.pairs())
        yield api


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path
