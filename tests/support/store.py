"""A real local store: one process a session on a free port, one database a test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from redpanda.local.checks import free_port
from tables.clickhouse import migrate
from tables.clickhouse.client import connect
from tables.clickhouse.endpoint import read_local
from tables.clickhouse.settings import StoreSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["SERVER", "StoreProcess", "local_only", "store", "store_client", "store_database", "store_settings"]

ROOT = Path(__file__).parents[2]
START_S = 120.0  # a second on an idle machine; one that has ended fails at once
_URL = os.environ.get("TICKCAST_CLICKHOUSE_URL", "")
SERVER = "" if _URL.startswith("local://") else _URL
"""A ClickHouse server that the tests of the protocol and of the tables are to use."""
local_only = pytest.mark.skipif(bool(SERVER), reason="a promise of the local store only")


class StoreProcess:
    """`python -m tables.clickhouse.local` on a folder; the port stays the same over restarts."""

    def __init__(self, base: Path, *, port: int | None = None, **environment: str) -> None:
        self.folder = base / "store"
        self.home = base / "home"
        self.log = base / "store.log"
        self.port = free_port() if port is None else port
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def settings(self, database: str = "tickcast") -> StoreSettings:
        """Settings of a client of this store."""
        return StoreSettings(
            clickhouse_url=f"local://{self.folder}", store_port=self.port, clickhouse_database=database
        )

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process and return at once."""
        environment = {
            **os.environ,
            "TICKCAST_CLICKHOUSE_URL": f"local://{self.folder}",
            "TICKCAST_STORE_PORT": str(self.port),
            **self.environment,
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tables.clickhouse.local", "--home", str(self.home)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        return self.process

    def start(self) -> None:
        """Start the process and wait until its port answers."""
        process = self.spawn()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            endpoint = read_local(self.folder)
            if endpoint is not None and endpoint.pid == process.pid and _listens(self.port):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)  # the pause of this loop
                break
        raise AssertionError(f"the store did not start:\n{self.log.read_text()}")

    def kill(self) -> None:
        """End the process without any warning (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask the process to end and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """One running store for the whole session."""
    pytest.importorskip("chdb", reason="chdb-core is not installed (uv sync --extra local)")
    running = StoreProcess(tmp_path_factory.mktemp("store"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def store_database() -> str:
    """Name of a database that no other test uses."""
    return f"test_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def store_settings(request: pytest.FixtureRequest, store_database: str) -> StoreSettings:
    """Settings of a store with a database of this test's own, not yet made.

    The running local store, or the server that `TICKCAST_CLICKHOUSE_URL` names when it is `clickhouse://...`.
    """
    if SERVER:
        return StoreSettings(
            clickhouse_url=urlsplit(SERVER)._replace(path="").geturl(), clickhouse_database=store_database
        )
    running: StoreProcess = request.getfixturevalue("store")
    return running.settings(store_database)


@pytest.fixture
def store_client(store_settings: StoreSettings) -> Iterator[Client]:
    """A connected client on a migrated database, dropped after the test."""
    client = connect(store_settings)
    migrate.apply(client)
    yield client
    client.command(f"DROP DATABASE `{client.database}`", use_database=False)
    client.close()
