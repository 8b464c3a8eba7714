"""The store process: one folder, one port on the loopback, one status line a second."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil
import uvicorn

from redpanda.errors import ConfigError, TickcastError
from tables.clickhouse.endpoint import ENDPOINT_FILE, LocalEndpoint, read_local, write_local
from tables.clickhouse.local.engine import Engine, EngineError
from tables.clickhouse.local.http import StoreApp
from tables.clickhouse.settings import StoreSettings
from tables.status import Status, write_status

__all__ = ["run"]

log = logging.getLogger("tickcast.store")

HOST: Final = "127.0.0.1"
_THREADS: Final = 8
_MEGABYTE: Final = 1_000_000
_GRACE_S: Final = 1
_ROWS: Final = (
    "SELECT table, sum(rows) FROM system.parts WHERE active AND database = {db:String} GROUP BY table ORDER BY table"
)


def run(settings: StoreSettings, home: Path) -> None:
    """Serve the folder of a `local://` URL until SIGTERM or SIGINT.

    Raises
    ------
    TickcastError
        No local URL, a busy port, a folder in use, a full disk, a missing engine: one line with the next step.
    """
    if not settings.is_local:
        raise ConfigError(
            "the store process serves local:// folders only: set TICKCAST_CLICKHOUSE_URL=local://FOLDER, "
            "or start your server yourself"
        )
    folder = settings.local_folder
    try:
        token = _prepare(folder, settings)
        with _sole_owner(folder), Engine(folder, settings) as engine:
            asyncio.run(_serve(settings, home, engine, token))
    except OSError as error:
        raise TickcastError(
            f"the store cannot use {folder}: {error.strerror or error}. Free the disk, mend the rights, "
            "or set TICKCAST_CLICKHOUSE_URL to another folder"
        ) from error


async def _serve(settings: StoreSettings, home: Path, engine: Engine, token: str) -> None:
    folder = settings.local_folder
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
    version = engine.query("SELECT version()", "TSVRaw", "", {}, {}).body.decode().strip()
    app = StoreApp(engine, pool, token=token, version=version, body_limit_bytes=settings.store_body_mb * _MEGABYTE)
    with _listen(settings.store_port) as listener:
        port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_GRACE_S,
                h11_max_incomplete_event_size=1 << 20,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        write_local(folder, LocalEndpoint(url=f"http://{HOST}:{port}", token=token, pid=os.getpid()))
        log.info("store on http://%s:%d, folder %s, engine %s", HOST, port, folder, version)
        beat = asyncio.create_task(_beat(home, app, engine, settings, port))
        try:
            await server.serve([listener])
        finally:
            (folder / ENDPOINT_FILE).unlink(missing_ok=True)
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            engine.stop_queries()
            pool.shutdown(wait=True, cancel_futures=True)
            _tell(home, Status(name="store", state="stopping"))


class _Server(uvicorn.Server):
    """uvicorn raises a caught SIGTERM again after its shutdown; here it means a clean end, exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _beat(home: Path, app: StoreApp, engine: Engine, settings: StoreSettings, port: int) -> None:
    """Write the status file about once a second."""
    process = psutil.Process()
    while True:
        rows = await asyncio.to_thread(_rows, engine, settings)
        counters = app.counters
        _tell(
            home,
            Status(
                name="store",
                state="live",
                counters={
                    "inserted_rows": counters.inserted_rows,
                    "inserts": counters.inserts,
                    "queries": counters.queries,
                    "errors": counters.errors,
                    "refused": counters.refused,
                },
                detail={"rss_mb": process.memory_info().rss // _MEGABYTE, "rows": rows, "port": port},
            ),
        )
        await asyncio.sleep(1)


def _rows(engine: Engine, settings: StoreSettings) -> dict[str, int]:
    """Rows on disk by table, superseded ones included: a look at part headers, no scan."""
    try:
        found = engine.query(_ROWS, "TSV", "", {}, {"db": settings.clickhouse_database}).body.decode()
    except EngineError as error:
        log.warning("cannot count rows: %s", error)
        return {}
    return {table: int(count) for table, count in (line.split("\t") for line in found.splitlines())}


def _tell(home: Path, status: Status) -> None:
    try:
        write_status(home, status)
    except OSError as error:
        log.warning("cannot write the status file: %s", error)


def _prepare(folder: Path, settings: StoreSettings) -> str:
    """Make the folder, check the disk, and return the token, which stays the same over restarts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    free_mb = shutil.disk_usage(folder).free // _MEGABYTE
    if free_mb < settings.store_min_free_mb:
        raise TickcastError(
            f"the disk of {folder} is full: {free_mb} MB are free and TICKCAST_STORE_MIN_FREE_MB asks for "
            f"{settings.store_min_free_mb}. Free some space, or set TICKCAST_CLICKHOUSE_URL to another disk"
        )
    path = folder / "token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text().strip()


@contextlib.contextmanager
def _sole_owner(folder: Path) -> Iterator[None]:
    """Hold the folder; the lock goes with the process, however that ends. The engine's own refusal says no reason."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = read_local(folder)
            who = f" (process {other.pid} on {other.url})" if other else ""
            raise TickcastError(
                f"the store folder {folder} is in use by another store{who}: stop that one, "
                "or set TICKCAST_CLICKHOUSE_URL to another folder"
            ) from error
        yield


def _listen(port: int) -> socket.socket:
    # Named in full: asyncio sets TCP_NODELAY only where proto says TCP, and without it every answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise TickcastError(
            f"port {port} on {HOST} is busy: stop what uses it, or set TICKCAST_STORE_PORT to a free port (0 takes any)"
        ) from error
    return listener
