"""A real PostgreSQL for the session: a folder of its own, a socket in it and no port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

__all__ = ["module_database", "postgres", "postgres_database"]

START_S = 60.0
OPTIONS = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "timezone=UTC", "-c", "shared_buffers=32MB")


def _binaries() -> Path | None:
    """Newest installed server; Debian keeps it off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _user() -> str | None:
    """Somebody to run it as: initdb refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URL of a running server's maintenance database."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="tickcast-pg-"))
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "tickcast", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        user=user,
        check=True,
        capture_output=True,
        cwd=folder,
    )
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, *OPTIONS], user=user, stdout=log, stderr=log, cwd=folder
        )
    url = f"postgresql://tickcast@/postgres?host={folder}"
    try:
        _wait(url, folder / "log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for every client
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
            return
    raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}")


@contextlib.contextmanager
def _made(url: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield url.replace("/postgres?", f"/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """Give the URL of an empty database of this test's own."""
    with _made(postgres) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(postgres: str) -> Iterator[Any]:
    """Give an open connection to an empty database of this module's own."""
    with _made(postgres) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection
