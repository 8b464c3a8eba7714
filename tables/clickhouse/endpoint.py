"""From `TICKCAST_CLICKHOUSE_URL` to host, port and credentials; local stores tell them in a file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from redpanda.errors import ConfigError, UnreachableError
from tables.clickhouse.settings import StoreSettings

__all__ = ["ENDPOINT_FILE", "Endpoint", "LocalEndpoint", "read_local", "resolve", "write_local"]

ENDPOINT_FILE: Final = "endpoint.json"
LOCAL_USER: Final = "default"
_TLS: Final = {"clickhouse": False, "http": False, "https": True, "clickhouses": True}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Endpoint(msgspec.Struct, frozen=True):
    """Where to connect and as whom."""

    host: str
    port: int
    user: str
    password: str
    secure: bool
    database: str
    local: bool


class LocalEndpoint(msgspec.Struct, frozen=True):
    """What a running local store writes into its folder."""

    url: str
    token: str
    pid: int


def write_local(folder: Path, endpoint: LocalEndpoint) -> None:
    """Replace `folder/endpoint.json`, readable by the owner alone: it holds the token."""
    temporary = folder / f".{ENDPOINT_FILE}.{os.getpid()}"
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(endpoint))
    temporary.replace(folder / ENDPOINT_FILE)


def read_local(folder: Path) -> LocalEndpoint | None:
    """Read what the store of that folder wrote; None where there is nothing readable."""
    try:
        return msgspec.json.decode((folder / ENDPOINT_FILE).read_bytes(), type=LocalEndpoint)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def resolve(settings: StoreSettings) -> Endpoint:
    """Read the URL of the settings.

    Raises
    ------
    ConfigError
        The URL is not one of ours.
    UnreachableError
        A local store that has not been started on its folder.
    """
    if settings.is_local:
        return _resolve_local(settings)
    parts = _split(settings.clickhouse_url)
    secure = _TLS[parts.scheme]
    database = parts.path.strip("/") or settings.clickhouse_database
    if not _NAME.fullmatch(database):
        raise _bad(settings.clickhouse_url, f"{database!r} is no database name")
    return Endpoint(
        host=parts.hostname or "",
        port=parts.port or (8443 if secure else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        secure=secure,
        database=database,
        local=False,
    )


def _resolve_local(settings: StoreSettings) -> Endpoint:
    if not settings.clickhouse_url.removeprefix("local://").strip():
        raise _bad(settings.clickhouse_url, "local:// needs a folder")
    found = read_local(settings.local_folder)
    if found is None:
        raise UnreachableError(
            f"no store is running on {settings.local_folder} (TICKCAST_CLICKHOUSE_URL={settings.clickhouse_url}): "
            "start it with `tickcast store serve`"
        )
    parts = urlsplit(found.url)
    return Endpoint(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or settings.store_port,
        user=LOCAL_USER,
        password=found.token,
        secure=False,
        database=settings.clickhouse_database,
        local=True,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in _TLS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise _bad(url, str(error)) from error
    if not known:
        raise _bad(url, "unknown form")
    return parts


def _bad(url: str, why: str) -> ConfigError:
    shown = re.sub(r"//[^@/]*@", "//***@", url)
    return ConfigError(
        f"TICKCAST_CLICKHOUSE_URL={shown}: {why}. "
        "Set it to local://FOLDER or clickhouse://user:password@host:8123/database"
    )
