"""An API without a broker and a store: who may ask is decided before either is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from api.access import keyfile
from api.access.keys import SCOPES, new_key
from redpanda.local.checks import free_port
from tables.clickhouse.settings import StoreSettings
from tests.api.stack import Api, running_api

Serve = Callable[..., Api]
MakeKey = Callable[..., tuple[str, str]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start an API with other settings; nothing that it needs is there, so that data answers 503."""
    store = StoreSettings(clickhouse_url=f"clickhouse://127.0.0.1:{free_port()}/x", store_connect_timeout_s=0.1)
    with ExitStack() as running:

        def start(**changes: Any) -> Api:
            return running.enter_context(running_api(tmp_path, f"127.0.0.1:{free_port()}", store, **changes))

        yield start


@pytest.fixture
def make_key(tmp_path: Path) -> MakeKey:
    """Put a key into the file of the API; gives its id and its token."""

    def make(*scopes: str, **options: Any) -> tuple[str, str]:
        key, token = new_key(0, scopes or SCOPES, **options)
        keyfile.add(tmp_path / "access" / "keys.json", key)
        return key.id, token

    return make
