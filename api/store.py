"""Reads from ClickHouse: the sync client in threads, connected late and anew after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

from redpanda.errors import TickcastError, UnreachableError
from tables.clickhouse.client import store_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

__all__ = ["Store", "in_thread"]

log = logging.getLogger("tickcast.api")
RETRY_WITHIN_S = 1.0
"""A store that fails at once may have been restarted, with another port or token; one that hangs has not."""
P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """One client shared by all requests.

    Parameters
    ----------
    connect
        Makes a client; called in a thread, again after every failure: a restarted store may
        have another address and token.
    timeout_s
        How long a request waits for its answer.
    parallel
        Queries at a time; more wait their turn.
    """

    def __init__(self, connect: Callable[[], Client], timeout_s: float = 4.0, parallel: int = 4) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(parallel)
        self._lock = threading.Lock()
        self._client: Client | None = None
        self.trouble = ""
        """What kept the last call from an answer; empty where it had one."""

    async def call(self, query: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `query(client, ...)` in a thread; UnreachableError where the store gives no answer."""

        def work() -> T:
            begun_s = time.monotonic()
            client: Client | None = None
            try:
                client = self._connected()
                return query(client, *args, **kwargs)
            except TickcastError:
                self._forget(client)
                if time.monotonic() - begun_s > RETRY_WITHIN_S:
                    raise
                return query(self._connected(), *args, **kwargs)

        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                answer = await in_thread(work)
        except (TickcastError, TimeoutError) as error:
            self.trouble = str(error) or f"no answer within {self._timeout_s:g} s (TICKCAST_CLICKHOUSE_URL)"
            log.warning("the store gave no answer: %s", self.trouble)
            raise UnreachableError("the store does not answer: try again") from error
        self.trouble = ""
        return answer

    async def ping(self) -> None:
        """Touch the tables; UnreachableError where the store gives no answer or has no schema."""
        await self.call(_touch)

    def close(self) -> None:
        """Give the connections back, without waiting for a thread that is just connecting (it holds the lock)."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _forget(self, client: Client | None) -> None:
        """Give up the client that failed, not a newer one that another request has made meanwhile."""
        with self._lock:
            if client is None or self._client is not client:
                return
            self._client = None
        client.close()


async def in_thread(work: Callable[[], T]) -> T:
    """Run in a daemon thread: a stop must not wait for a store that hangs, as it would for an executor's thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(answer: T | None, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("T", answer))

    def run() -> None:
        answer, error = None, None
        try:
            answer = work()
        except Exception as raised:  # noqa: BLE001  # raised again where it is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, answer, error)

    threading.Thread(target=run, name="store-query", daemon=True).start()
    return await future


def _touch(client: Client) -> None:
    with store_errors("reading the store"):
        client.command("SELECT (SELECT count() FROM candles LIMIT 1), (SELECT count() FROM forecasts LIMIT 1)")
