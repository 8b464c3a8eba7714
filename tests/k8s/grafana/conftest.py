from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tables.clickhouse import migrate
from tables.clickhouse.client import connect
from tests.support.dashboards import seed
from tests.support.store import StoreProcess, store, store_client, store_database, store_settings

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["store", "store_client", "store_database", "store_settings"]

MONTH_MINUTES = 30 * 1_440


@pytest.fixture(scope="session")
def month(store: StoreProcess) -> Iterator[Client]:
    """A store with thirty days of four pairs."""
    client = connect(store.settings("dashboards_month"))
    migrate.apply(client)
    seed(client, MONTH_MINUTES)
    yield client
    client.close()
