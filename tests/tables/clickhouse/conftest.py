from __future__ import annotations

from tests.support.store import store, store_client, store_database, store_settings

__all__ = ["store", "store_client", "store_database", "store_settings"]
