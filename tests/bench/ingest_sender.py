"""An exchange for benchmarks, in a process of its own: single-trade frames of WebSocket v2, as fast as asked.

`python -m tests.bench.ingest_sender PLAN.json` serves WebSocket and REST on one port, writes `plan.out` (wall clock ns
of the first frame) when the trades begin, and ends when it is told to. It is written down to the socket, so that it
costs as little as it can beside what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.bench.ingest_parts import asset_pairs, frames_v2, socket_bytes

__all__ = ["Plan", "Sender"]

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK = 200
TICK_S = 0.02
STATUS = b'{"channel":"status","type":"update","data":[{"system":"online"}]}'
EMPTY_PAGE = b'{"error":[],"result":{"NONE":[],"last":"0"}}'


class Plan(msgspec.Struct, frozen=True):
    """What to send."""

    port: int
    pair: str
    frames: int
    """How many in all (count); 0: without end."""
    rate_per_s: float
    """0: as fast as they are taken."""
    out: str


class Sender:
    """Serves connections; one subscription gets the trades."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chunks: list[bytes] = []
        self._next_id = 1
        self.sent = 0
        """Frames of a flood that the connection has taken (count)."""
        if not plan.rate_per_s:  # made before anybody asks, so that making them costs nothing then
            at_ns = time.time_ns()
            made = frames_v2(plan.pair, 1, plan.frames, at_ns)
            self._chunks = [socket_bytes(made[at : at + CHUNK]) for at in range(0, len(made), CHUNK)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, whichever of the two protocols it speaks."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if "sec-websocket-key" in head.lower():
                    await self._socket(head, reader, writer)
                    break
                body = asset_pairs([self._plan.pair]) if "AssetPairs" in head.split("\r\n")[0] else EMPTY_PAGE
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
                await writer.drain()
        writer.close()

    async def _socket(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in head.split("\r\n"))}
        accept = base64.b64encode(hashlib.sha1((lines["sec-websocket-key"] + GUID).encode()).digest())  # noqa: S324  # RFC 6455
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        asked: Any = json.loads(await _message(reader))
        ack = {
            "method": "subscribe",
            "result": {"channel": "trade", "snapshot": True, "symbol": self._plan.pair},
            "success": True,
            "req_id": asked.get("req_id"),
        }
        writer.write(socket_bytes([STATUS, json.dumps(ack).encode()]))
        await asyncio.to_thread(Path(self._plan.out).write_text, str(time.time_ns()))
        ears = asyncio.create_task(_listen(reader))
        try:
            await (self._paced(writer) if self._plan.rate_per_s else self._flood(writer))
            while True:
                writer.write(socket_bytes([b'{"channel":"heartbeat"}']))
                await writer.drain()
                await asyncio.sleep(1.0)
        finally:
            ears.cancel()

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        for chunk in self._chunks:
            writer.write(chunk)
            await writer.drain()
            self.sent += CHUNK

    async def _paced(self, writer: asyncio.StreamWriter) -> None:
        started_s, sent = time.monotonic(), 0
        while not self._plan.frames or sent < self._plan.frames:
            due = int((time.monotonic() - started_s) * self._plan.rate_per_s) - sent
            if due > 0:
                writer.write(socket_bytes(frames_v2(self._plan.pair, self._next_id, due, time.time_ns())))
                self._next_id, sent = self._next_id + due, sent + due
                await writer.drain()
            await asyncio.sleep(TICK_S)


async def _listen(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one masked text frame."""
    size = (await reader.readexactly(2))[1] & 0x7F
    if size == 126:  # RFC 6455
        size = int.from_bytes(await reader.readexactly(2))
    mask, body = await reader.readexactly(4), await reader.readexactly(size)
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))


async def main(plan: Plan) -> None:
    sender = Sender(plan)
    server = await asyncio.start_server(sender.serve, "127.0.0.1", plan.port, limit=1 << 20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
