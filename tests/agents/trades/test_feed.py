"""What an exchange can make the socket hold: large frames, packed frames, a flood."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from agents.trades.exchanges import exchange_of
from agents.trades.feed import SOCKET_FRAME_BYTES, Feed, proxy_of
from agents.trades.settings import ingest_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agents.trades.exchange import Decoded

PAIR = "BTC/USD"
BEAT = '{"channel":"heartbeat"}'
KERNEL_BYTES = 32 << 20
"""Buffers of the two sockets and of the reader, with much room."""
DEADLINE_S = 15.0
SILENCE_S = 2.0


class Frames(list["Decoded"]):
    """What the feed gave, and a way to wait for more of it."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived = asyncio.Event()

    def take(self, decoded: Decoded) -> None:
        self.append(decoded)
        self._arrived.set()

    async def at_least(self, count: int) -> None:
        while len(self) < count:
            self._arrived.clear()
            await self._arrived.wait()


@contextlib.asynccontextmanager
async def feed_of(
    script: Callable[[ServerConnection], Awaitable[None]], packed: bool = True, silence_s: float = 10.0
) -> AsyncIterator[tuple[Feed, Frames]]:
    """Run the feed against a server that does `script` on each connection."""
    frames = Frames()
    compression = "deflate" if packed else None
    async with asyncio.timeout(DEADLINE_S), serve(script, "127.0.0.1", 0, compression=compression) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        settings = ingest_settings(source="sim", sim_port=port, pairs=PAIR, backoff_max_s=0.1, silence_s=silence_s)
        feed = Feed(exchange_of("sim"), settings, (PAIR,), frames.take)
        task = asyncio.create_task(feed.run())
        try:
            yield feed, frames
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_large_frame_is_refused_alone_and_a_larger_one_costs_the_connection() -> None:
    async def go() -> None:
        more = asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            await connection.send(BEAT)
            if not more.is_set():
                await connection.send(" " * (SOCKET_FRAME_BYTES * 3 // 4))
                await connection.send(BEAT)
                await more.wait()
                await connection.send(" " * (SOCKET_FRAME_BYTES + 1))  # packed it has 2 kB
            await connection.wait_closed()

        async with feed_of(script) as (feed, frames):
            await frames.at_least(3)
            assert feed.reconnects == 0
            assert [one.kind for one in frames] == ["heartbeat", "malformed", "heartbeat"]
            assert [refusal.reason for refusal in frames[1].refusals] == ["too-large"]
            more.set()
            await frames.at_least(4)
            assert feed.reconnects == 1
            assert frames[3].kind == "heartbeat"

    asyncio.run(go())


def test_a_flood_fills_a_bounded_amount_and_then_waits() -> None:
    async def go() -> int:
        sent = 0
        stalled = asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            nonlocal sent
            payload = "x" * (SOCKET_FRAME_BYTES - 1)
            await connection.send(BEAT)
            try:
                while True:
                    async with asyncio.timeout(1.0):
                        await connection.send(payload)
                    sent += len(payload)
            except TimeoutError:
                stalled.set()
                connection.transport.abort()

        async with feed_of(script, packed=False) as (feed, _):
            feed.room.clear()
            await stalled.wait()
        return sent

    sent = asyncio.run(go())
    assert 0 < sent <= SOCKET_FRAME_BYTES + KERNEL_BYTES


def test_trickling_frames_are_no_silence_and_nothing_more_is() -> None:
    async def go() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        last_s = [0.0]
        again = asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            if last_s[0]:
                again.set()
            else:
                for _ in range(10):  # 2.5 times silence_s in all
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(SILENCE_S / 4):
                            await connection.wait_closed()
                    await connection.send(BEAT)
                    last_s[0] = loop.time()
            await connection.wait_closed()

        async with feed_of(script, silence_s=SILENCE_S) as (feed, frames):
            await frames.at_least(10)
            assert feed.reconnects == 0
            await again.wait()
            return loop.time() - last_s[0], feed.reconnects

    quiet_s, reconnects = asyncio.run(go())
    assert quiet_s >= SILENCE_S
    assert reconnects == 1


def test_a_full_outbox_is_no_silence_of_the_exchange() -> None:
    async def go() -> None:
        full = asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            await connection.send(BEAT)
            await full.wait()
            await connection.send(BEAT)  # the feed was reading: this one it takes, the next one it leaves
            await connection.send(BEAT)
            await connection.wait_closed()

        async with feed_of(script, silence_s=SILENCE_S) as (feed, frames):
            await frames.at_least(1)
            feed.room.clear()
            full.set()
            await frames.at_least(2)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * SILENCE_S):
                    await frames.at_least(3)
            assert len(frames) == 2
            feed.room.set()
            await frames.at_least(3)
            assert feed.reconnects == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://ws.kraken.com/v2", "http://proxy:1"),
        ("ws://feed.example/v2", "http://proxy:2"),
        ("wss://inside.example/v2", None),
        ("ws://127.0.0.1:9000/v2", None),
    ],
)
def test_the_proxy_of_the_environment_is_for_the_outside(
    url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ws_proxy", "wss_proxy", "WS_PROXY", "WSS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("https", "http://proxy:1"), ("http", "http://proxy:2"), ("no", "inside.example")):
        monkeypatch.setenv(f"{name}_proxy", value)
    assert proxy_of(url) == expected
