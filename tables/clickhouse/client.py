"""Connections to the column store: bounded, without sessions, with errors that name the next step."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, OperationalError
from clickhouse_connect.driver.httputil import get_pool_manager

from redpanda.errors import BadInputError, ConfigError, TickcastError, UnreachableError
from tables.clickhouse.endpoint import Endpoint, resolve
from tables.clickhouse.settings import StoreSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver import AsyncClient, Client

__all__ = ["connect", "connect_async", "store_errors"]

_PROBE_S: Final = 3.0
_PAUSE_S: Final = 0.2
_REFUSED_CODES: Final = frozenset({192, 193, 194, 516})
_SCHEMA_CODES: Final = frozenset({16, 47, 60, 81})
_PASSING_CODES: Final = frozenset({159, 202, 209, 210, 241, 242, 243, 252, 999})
"""Timeouts, overload, memory, read-only table, full disk, too many parts: the same batch may pass later."""


def connect(settings: StoreSettings) -> Client:
    """Connect, waiting at most `store_connect_timeout_s` for a store that is still starting.

    It has no session, so threads may share it. The database need not exist yet: `migrate.apply` makes it.

    Raises
    ------
    UnreachableError, ConfigError
        Nothing answers; the URL or the credentials are wrong.
    """
    endpoint = _wait(settings)
    extra = {"pool_mgr": get_pool_manager()} if endpoint.local else {}  # its own pool: never through a proxy
    with store_errors(_where(settings)):
        client = clickhouse_connect.get_client(**_options(endpoint, settings), **extra)
    client.database = endpoint.database
    return client


async def connect_async(settings: StoreSettings) -> AsyncClient:
    """Do what `connect` does, for asyncio; close it with `await client.close()`."""
    endpoint = await asyncio.to_thread(_wait, settings)
    with store_errors(_where(settings)):
        client = await clickhouse_connect.get_async_client(**_options(endpoint, settings))
    client.database = endpoint.database
    return client


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn the driver's errors into ours.

    `UnreachableError` (retriable): send the same thing again. `BadInputError`: a value does not fit its column.
    `ConfigError`: a person has to act.
    """
    try:
        yield
    except DataError as error:
        raise BadInputError(f"{what}: {error}") from error
    except ClickHouseError as error:
        raise _translated(what, error) from error


def _translated(what: str, error: ClickHouseError) -> TickcastError:
    code = getattr(error, "code", None)
    text = str(error).replace("\n", " ")[:400]
    if code in _REFUSED_CODES:
        return ConfigError(f"{what}: the store refused the credentials: mend those in TICKCAST_CLICKHOUSE_URL ({text})")
    if code in _SCHEMA_CODES:
        return ConfigError(f"{what}: the schema is not there: run `tickcast store migrate` ({text})")
    if code in _PASSING_CODES or (code is None and isinstance(error, OperationalError)):
        return UnreachableError(
            f"{what}: the store does not answer as it should, try again; see TICKCAST_CLICKHOUSE_URL, "
            f"or start it with `tickcast store serve` ({text})"
        )
    return TickcastError(f"{what}: the store refused it: run `tickcast doctor` and read its log ({text})")


def _options(endpoint: Endpoint, settings: StoreSettings) -> dict[str, Any]:
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "username": endpoint.user,
        "password": endpoint.password,
        "secure": endpoint.secure,
        "connect_timeout": 5,
        "send_receive_timeout": settings.store_request_timeout_s,
        "query_retries": 2,
        "compress": False if endpoint.local else "lz4",
        "autogenerate_session_id": False,
        "client_name": "tickcast",
    }


def _where(settings: StoreSettings) -> str:
    return f"connecting to {settings.clickhouse_url.rpartition('@')[2]}"


def _wait(settings: StoreSettings) -> Endpoint:
    """Resolve and probe until something listens or the time is up."""
    deadline = time.monotonic() + settings.store_connect_timeout_s
    while True:
        try:
            endpoint = resolve(settings)
            _probe(endpoint, settings)
        except UnreachableError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return endpoint


def _probe(endpoint: Endpoint, settings: StoreSettings) -> None:
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=_PROBE_S).close()
    except OSError as error:
        step = "start it with `tickcast store serve`" if endpoint.local else "start that server or mend the URL"
        raise UnreachableError(
            f"no ClickHouse answers on {endpoint.host}:{endpoint.port} "
            f"(TICKCAST_CLICKHOUSE_URL={settings.clickhouse_url.rpartition('@')[2]}; {error}): {step}"
        ) from error
