"""Many WebSocket clients in one process, as cheap as Python allows: they must not be what is measured.

`python -m tests.bench.feed_clients PLAN` connects and subscribes, touches OUT.ready, and at SIGTERM writes what came to
OUT (numpy): for each update when it was made and how long it took, and how many were missing by their `seq`.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import struct
import sys
import time
from array import array
from pathlib import Path
from typing import Final, cast

import msgspec
import numpy as np
import uvloop

__all__ = ["Plan", "allow_files"]

MARK: Final = b'"quote_volume":'
"""The field that carries the time at which the record was made (s since the epoch)."""
SEQ: Final = b'"seq":'
AT_ONCE: Final = 50
UPDATE: Final = b'"type":"update"'
ACK: Final = b'"success":true'
LENGTH16: Final = 126
LENGTH64: Final = 127


class Plan(msgspec.Struct, frozen=True):
    """What one process does."""

    port: int
    channel: str
    pairs: list[str]
    """One for each client."""
    out: str


class Seen:
    """What all clients of the process saw."""

    def __init__(self) -> None:
        self.made_s = array("d")
        self.took_s = array("d")
        self.missing = 0


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, plan: Plan, pair: str, seen: Seen) -> None:
        self._plan, self._pair, self._seen = plan, pair, seen
        self._buffer = b""
        self._open = False
        self._seq = 0
        self._transport: asyncio.Transport | None = None
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            b"GET /v1/feed HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % self._plan.port
        )

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.subscribed.done():
            self.subscribed.set_exception(ConnectionError(f"closed: {self._buffer!r}"))
        self._seen.missing += 1

    def data_received(self, data: bytes) -> None:
        now_s = time.time()
        if self._buffer:
            data = self._buffer + data
        at = 0 if self._open else self._shake(data)
        size = len(data)
        while self._open and size - at >= 2:
            length, head = data[at + 1], 2
            if length == LENGTH16:
                head = 4
                length = int.from_bytes(data[at + 2 : at + 4]) if size - at >= head else size
            elif length == LENGTH64:
                head = 10
                length = int.from_bytes(data[at + 2 : at + 10]) if size - at >= head else size
            end = at + head + length
            if end > size:
                break
            self._take(data[at + head : end], data[at], now_s)
            at = end
        self._buffer = data[at:]

    def _shake(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not data.startswith(b"HTTP/1.1 101"):
            self.subscribed.set_exception(ConnectionError(data.decode()))
            return end + 4
        self._open = True
        params = {"channel": self._plan.channel, "pairs": [self._pair], "snapshot": False}
        self._send(0x81, msgspec.json.encode({"method": "subscribe", "params": params, "req_id": 1}))
        return end + 4

    def _send(self, opcode: int, payload: bytes) -> None:
        """Send a frame, masked with zeros."""
        assert self._transport is not None
        size = len(payload)
        length = bytes([0x80 | size]) if size < LENGTH16 else struct.pack("!BH", 0x80 | LENGTH16, size)
        self._transport.write(bytes([opcode]) + length + bytes(4) + payload)

    def _take(self, payload: bytes, first: int, now_s: float) -> None:
        if first == 0x89:
            self._send(0x8A, payload)
        elif UPDATE in payload:
            at = payload.find(MARK) + len(MARK)
            made_s = float(payload[at : payload.index(b",", at)])
            self._seen.made_s.append(made_s)
            self._seen.took_s.append(now_s - made_s)
            at = payload.find(SEQ) + len(SEQ)
            seq = int(payload[at : payload.index(b",", at)])
            if self._seq:
                self._seen.missing += seq - self._seq - 1
            self._seq = seq
        elif ACK in payload and not self.subscribed.done():
            self.subscribed.set_result(None)


def allow_files() -> None:
    """Raise the limit of open files as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(plan: Plan) -> Seen:
    loop, stop, seen = asyncio.get_running_loop(), asyncio.Event(), Seen()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    clients: list[Client] = []
    for start in range(0, len(plan.pairs), AT_ONCE):
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda pair=pair: Client(plan, pair, seen), "127.0.0.1", plan.port)  # type: ignore[misc]  # mypy takes a default for an argument
                for pair in plan.pairs[start : start + AT_ONCE]
            )
        )
        clients += [client for _, client in made]
        await asyncio.gather(*(client.subscribed for _, client in made))
    gc.freeze()
    gc.disable()  # it only ever appends
    Path(plan.out).with_suffix(".ready").touch()
    await stop.wait()
    found = Seen()
    found.made_s, found.took_s, found.missing = seen.made_s[:], seen.took_s[:], seen.missing
    return found


def main(file: Path) -> None:
    plan = msgspec.json.decode(file.read_bytes(), type=Plan)
    allow_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(_run(plan))
    with Path(plan.out).open("wb") as out:
        np.savez(out, made_s=np.array(seen.made_s), took_s=np.array(seen.took_s), missing=seen.missing)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
