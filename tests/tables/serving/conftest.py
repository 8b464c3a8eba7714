from __future__ import annotations

from tests.support.postgres import postgres, postgres_database
from tests.support.store import store, store_client, store_database, store_settings

__all__ = ["postgres", "postgres_database", "store", "store_client", "store_database", "store_settings"]
