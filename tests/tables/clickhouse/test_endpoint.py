from __future__ import annotations

import stat
from pathlib import Path

import pytest

from redpanda.errors import ConfigError, UnreachableError
from tables.clickhouse.client import connect
from tables.clickhouse.endpoint import LocalEndpoint, resolve, write_local
from tables.clickhouse.settings import StoreSettings


def settings(url: str) -> StoreSettings:
    return StoreSettings(clickhouse_url=url, store_connect_timeout_s=0.1)


@pytest.mark.parametrize(
    "url",
    [
        "tickcast",
        "ftp://host/x",
        "clickhouse://",
        "clickhouse://host:99999/db",
        "clickhouse://host:x/db",
        "http://host/bad-name",
        "local://",
    ],
)
def test_a_bad_url_is_a_config_error_that_names_the_setting(url: str) -> None:
    with pytest.raises(ConfigError, match="TICKCAST_CLICKHOUSE_URL"):
        resolve(settings(url))


def test_a_bad_url_is_shown_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(settings("clickhouse://me:secret@host/bad-name"))
    assert "secret" not in str(caught.value)


def test_a_server_url_gives_host_credentials_and_database() -> None:
    found = resolve(settings("clickhouse://me:p%40ss@db.example:9123/market"))
    assert (found.host, found.port, found.user, found.password) == ("db.example", 9123, "me", "p@ss")
    assert (found.database, found.secure, found.local) == ("market", False, False)


def test_https_means_tls_on_its_own_port() -> None:
    found = resolve(settings("https://db.example"))
    assert (found.port, found.secure, found.database) == (8443, True, "tickcast")


def test_a_folder_without_a_store_tells_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"TICKCAST_CLICKHOUSE_URL.*tickcast store serve"):
        connect(settings(f"local://{tmp_path}"))


def test_a_dead_store_is_unreachable_within_the_timeout(tmp_path: Path) -> None:
    write_local(tmp_path, LocalEndpoint(url="http://127.0.0.1:1", token="t", pid=1))  # noqa: S106  (no real token)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1 .*TICKCAST_CLICKHOUSE_URL"):
        connect(settings(f"local://{tmp_path}"))


def test_the_endpoint_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    write_local(tmp_path, LocalEndpoint(url="http://127.0.0.1:1", token="t", pid=1))  # noqa: S106  (no real token)
    assert stat.S_IMODE((tmp_path / "endpoint.json").stat().st_mode) == 0o600
