from __future__ import annotations

from tests.support.postgres import module_database, postgres, postgres_database
from tests.support.store import store

__all__ = ["module_database", "postgres", "postgres_database", "store"]
