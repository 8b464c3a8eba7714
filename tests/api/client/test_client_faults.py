"""The client against a server that speaks the real protocol and misbehaves on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from api.client import Event, FeedClient, FeedClientError, FeedRefusedError, FeedRequestError, Gap, State, Update
from api.client.talk import feed_url
from api.messages import Ack, Heartbeat, Hello, Subscribed, encode, update_message
from api.views import Update as Change
from tests.support.samples import candle

Script = Callable[[ServerConnection, int], Awaitable[None]]
BTC = "BTC/USD"
WAIT_S = 60.0
QUICK: dict[str, Any] = {"proxy": None, "backoff_min_s": 0.01, "backoff_max_s": 0.05, "answer_s": WAIT_S}


async def say(socket: ServerConnection, *payloads: bytes) -> None:
    for payload in payloads:
        await socket.send(payload, text=True)


async def greet(socket: ServerConnection, session: str = "one") -> dict[str, Any]:
    """Say hello, take the subscription and give its parameters."""
    await say(socket, encode(Hello("v1", session, 1.0, 4_096, 100, "sim", True, 0)))
    request: dict[str, Any] = msgspec.json.decode(await socket.recv())
    found = Subscribed("candles", request["params"]["pairs"], [])
    await say(socket, encode(Ack("subscribe", request["req_id"], found)))
    params: dict[str, Any] = request["params"]
    return params


def change(seq: int, cursor: int) -> bytes:
    return update_message(Change("candles", BTC, seq, cursor, candle(cursor)))


def talk(script: Script, enough: Callable[[list[Event]], bool], **options: Any) -> list[Event]:
    """Serve a script, once for each connection with its number, until the events are enough."""
    numbers = iter(range(1_000))

    async def run() -> list[Event]:
        found: list[Event] = []
        async with (
            serve(lambda socket: script(socket, next(numbers)), "127.0.0.1", 0) as server,
            asyncio.timeout(WAIT_S),
            FeedClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", **(QUICK | options)) as feed,
        ):
            await feed.subscribe("candles", [BTC])
            async for event in feed:
                found.append(event)
                if enough(found):
                    break
        return found

    return asyncio.run(run())


def updates(events: list[Event]) -> list[int]:
    return [event.cursor for event in events if isinstance(event, Update)]


def test_silence_and_a_hole_and_a_cut_are_mended_by_resume() -> None:
    asked: list[dict[str, Any]] = []

    async def script(socket: ServerConnection, number: int) -> None:
        asked.append((await greet(socket))["resume"])
        if number == 0:
            await say(socket, change(1, 10), change(2, 11), change(4, 13))  # 3 is missing
        elif number == 1:
            await say(socket, change(3, 12))
            await socket.recv()  # and then nothing more, not even a heartbeat
        elif number == 2:
            await say(socket, change(2, 11), change(3, 12), change(4, 13))  # some of it is known
            socket.transport.abort()
        else:
            await say(socket, change(5, 14))
            await socket.wait_closed()

    events = talk(script, lambda found: 14 in updates(found), silence_s=0.3)
    assert updates(events) == [10, 11, 12, 13, 14]
    assert asked == [{}, {BTC: 11}, {BTC: 12}, {BTC: 13}]
    reasons = [event.reason for event in events if isinstance(event, State) and not event.connected]
    assert ["4 after 2" in reasons[0], "silence" in reasons[1], len(reasons)] == [True, True, 3]


def test_a_reset_of_the_feed_is_a_gap_and_starts_over() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        resume = (await greet(socket, str(number)))["resume"]
        assert resume == {}
        await say(socket, change(1, 900 - number * 800))
        await socket.close(1012, "feed-reset")

    events = talk(script, lambda found: len(updates(found)) > 1)
    assert updates(events)[:2] == [900, 100]
    assert [event for event in events if isinstance(event, Gap)][:1] == [Gap("candles", BTC, 900, "feed-reset")]


def test_stale_and_unknown_messages() -> None:
    async def script(socket: ServerConnection, _number: int) -> None:
        await greet(socket)
        await say(
            socket,
            b'{"type":"weather","sky":[1]}',
            b'{"channel":"weather","type":"update","pair":"X","seq":1,'
            b'"cursor":1,"source":"","simulated":false,"data":[],"more":1}',
        )
        for number, stale in enumerate((False, True, True, False)):
            await say(socket, encode(Heartbeat(number, 0, stale)))
        await socket.wait_closed()

    events = talk(script, lambda found: len(found) > 2)
    assert [(event.connected, event.stale) for event in events if isinstance(event, State)] == [
        (True, False),
        (True, True),
        (True, False),
    ]


def test_what_nobody_takes_is_not_read() -> None:
    """The server can send only as much as the client's bounded queue, the library's and the sockets hold."""
    sent = 0

    async def run() -> None:
        async def script(socket: ServerConnection) -> None:
            nonlocal sent
            await greet(socket)
            while True:
                await say(socket, change(sent + 1, sent + 1))
                sent += 1

        async with (
            serve(script, "127.0.0.1", 0, write_limit=1_024) as server,
            asyncio.timeout(WAIT_S),
            FeedClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", **QUICK, queue_max=10) as feed,
        ):
            await feed.subscribe("candles", [BTC])
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.3)
            held = len(feed._events)
            assert held == 10
            taken = updates([await anext(feed) for _ in range(200)])
            assert taken == list(range(1, len(taken) + 1))

    asyncio.run(run())
    assert sent < 100_000


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
def test_a_refused_key_is_an_error_and_no_endless_knocking(status: HTTPStatus) -> None:
    keys: list[str] = []

    def refuse(connection: ServerConnection, request: Request) -> Response:
        keys.append(request.headers.get("Authorization", ""))
        return connection.respond(status, "no such key")

    async def run() -> None:
        async with (
            serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0, process_request=refuse) as server,
            asyncio.timeout(WAIT_S),
            FeedClient(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "secret", **QUICK) as feed,
        ):
            with pytest.raises(FeedRefusedError, match=f"{status.value}.*no such key"):
                await feed.subscribe("candles", [BTC])
            with pytest.raises(FeedRefusedError):
                await anext(feed)

    asyncio.run(run())
    assert keys == ["Bearer secret"]


def test_a_server_that_is_not_there_is_told_and_tried_again() -> None:
    async def run() -> None:
        async with FeedClient("http://127.0.0.1:9", **(QUICK | {"answer_s": 0.3})) as feed:
            with pytest.raises(FeedRequestError, match="no-answer"):
                await feed.subscribe("candles", [BTC])
            states = [await anext(feed) for _ in range(2)]
            assert all(isinstance(state, State) and not state.connected for state in states)
        with pytest.raises(FeedClientError, match="async with"):
            await anext(FeedClient("http://127.0.0.1:9"))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("http://a:1", "ws://a:1/v1/feed"),
        ("https://a/", "wss://a/v1/feed"),
        ("wss://a/prices/v1/feed", "wss://a/prices/v1/feed"),
    ],
)
def test_address_of_the_feed(url: str, full: str) -> None:
    assert feed_url(url) == full
