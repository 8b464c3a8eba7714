"""What the long-running processes of ingest share: a loop that ends on a signal, and a loopback port."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from redpanda.errors import ConfigError
from tables.status import write_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tables.status import Status

__all__ = ["HOST", "listen", "run_until_signal", "tell"]

log = logging.getLogger("tickcast.trades")

HOST: Final = "127.0.0.1"


def run_until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` in a loop of its own; SIGTERM and SIGINT set its event."""

    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded())


def tell(home: Path, status: Status) -> None:
    """Write the status file; a full disk must not stop the trades."""
    try:
        write_status(home, status)
    except OSError as error:
        log.warning("cannot write the status file under %s (TICKCAST_HOME): %s", home, error)


async def listen(app: web.Application, port: int, setting: str) -> tuple[web.AppRunner, int]:
    """Serve `app` on 127.0.0.1; return the runner and the port it got.

    Raises
    ------
    ConfigError
        The port is busy; `setting` names where to change it.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"port {port} is busy ({error.strerror}): stop what uses it or set {setting}") from error
    return runner, int(runner.addresses[0][1])
