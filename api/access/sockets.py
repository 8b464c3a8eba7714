"""Open connections of keys: a key that ends takes them along."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from api.access.keyring import Keyring

    Send = Callable[[Any], Awaitable[None]]

__all__ = ["KeyEndedError", "Sockets"]

SWEEP_S: Final = 1.0
POLICY: Final = 1008


class KeyEndedError(OSError):
    """The connection was closed under the app, which treats it as a peer that has left."""


class _Open:
    """One connection."""

    def __init__(self, key_id: str, send: Send) -> None:
        self.key_id = key_id
        self._send = send
        self._accepted = False
        self._ended = False

    async def send(self, message: Any) -> None:
        if self._ended:
            raise KeyEndedError("the key of this connection has ended")
        self._accepted = self._accepted or message["type"] == "websocket.accept"
        await self._send(message)

    async def end(self, state: str) -> None:
        if self._accepted and not self._ended:
            self._ended = True
            with contextlib.suppress(OSError, RuntimeError):  # the peer has left, or the app has just closed it
                await self._send({"type": "websocket.close", "code": POLICY, "reason": f"key-{state}"})


class Sockets:
    """Connections that were opened with a key, looked through once a second while there are any."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._open: set[_Open] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def held(self, key_id: str, send: Send) -> Iterator[Send]:
        """Give the `send` of a connection that lasts as long as the block; KeyEndedError out of it once it is over."""
        one = _Open(key_id, send)
        self._open.add(one)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep(), name="key-sweep")
        try:
            yield one.send
        finally:
            self._open.discard(one)

    async def _sweep(self) -> None:
        while self._open:
            await asyncio.sleep(SWEEP_S)
            states = {key_id: self._keyring.state(key_id) for key_id in {one.key_id for one in self._open}}
            for one in self._open:
                if states[one.key_id] != "active":
                    # A task each: a client that does not read must not keep another one's connection open.
                    task = asyncio.create_task(one.end(states[one.key_id]))
                    self._ends.add(task)
                    task.add_done_callback(self._ends.discard)
