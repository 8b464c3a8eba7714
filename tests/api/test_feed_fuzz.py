from __future__ import annotations

import json
import socket as sockets
import struct
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.caller import Caller
from api.conversation import Conversation
from api.hub import Hub, Limits, Subscriber
from api.settings import ApiSettings
from api.views import CHANNELS, MarketView, Update
from tests.api.pipe import Pipe
from tests.api.stack import Api, Topics, hear, hear_close, say
from tests.support.samples import candle, forecast
from tests.support.waiting import wait_for

LIMIT = 6
RING = 4
KEYS = ("BTC/USD", "ETH/USD", "*", "X", "")
SETTINGS = ApiSettings(source="sim", pairs="BTC/USD,ETH/USD", ws_subscriptions_max=LIMIT)  # type: ignore[arg-type]  # text as in the environment

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20), st.sampled_from(KEYS)
)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
pairs = st.lists(st.sampled_from(KEYS), max_size=5)
params = st.fixed_dictionaries(
    {},
    optional={
        "channel": st.sampled_from((*CHANNELS, "book")) | anything,
        "pairs": pairs | anything,
        "snapshot": st.booleans() | anything,
        "resume": st.dictionaries(st.sampled_from(KEYS), st.integers(-5, 40) | leaves, max_size=3) | anything,
        "more": anything,
    },
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(("subscribe", "unsubscribe", "ping", "shout")) | anything,
        "params": params | anything,
        "req_id": st.integers(-5, 5) | anything,
        "more": anything,
    },
)
texts = st.one_of(
    requests.map(json.dumps),
    anything.map(json.dumps),
    st.text(max_size=200),
    st.integers(1, 4_000).map(lambda depth: "[" * depth),
    st.integers(1, 600).map(lambda depth: '{"params":' * depth + "1" + "}" * depth),
)


def talking() -> tuple[Conversation, Subscriber]:
    view, hub = MarketView(history=5, ring=RING), Hub(Limits.of(SETTINGS))
    for cursor in range(10):
        view.apply("candles", candle(cursor), cursor)
        view.apply("forecasts", forecast(cursor), cursor)
    subscriber = hub.join(Pipe(), Caller("192.0.2.1"))
    assert isinstance(subscriber, Subscriber)
    return Conversation(subscriber, hub, view, SETTINGS, "session"), subscriber


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, min_size=1, max_size=6))
@example(['{"method":"subscribe","params":{"channel":"\\ud800","pairs":["\\udfff"]},"req_id":"\\ud800"}'])
@example(['{"method":"ping","req_id":1e999}', '{"method":"ping","req_id":123456789012345678901234567890}'])
def test_any_text_gets_an_answer_and_a_refused_one_changes_nothing(said: list[str]) -> None:
    conversation, subscriber = talking()
    for text in said:
        before = set(subscriber.topics)
        conversation.is_ahead(text)
        first, *rest = conversation.answer(text)
        assert isinstance(first, bytes)
        answer: dict[str, Any] = msgspec.json.decode(first)
        assert len(first) < 10 * len(text.encode()) + 2_000
        assert answer.get("success") is not False or (subscriber.topics == before and not rest)
        assert len(subscriber.topics) <= LIMIT
        assert len(rest) <= LIMIT * RING
        assert all(isinstance(item, Update) or msgspec.json.decode(item)["type"] == "snapshot" for item in rest)


def masked(first: int, payload: bytes = b"") -> bytes:
    """Make a client's frame, masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BQ", 0xFF, size)
    return bytes([first]) + length + bytes(4) + payload


RESUME = b'{"method":"subscribe","params":{"channel":"candles","pairs":["*"],"resume":{"FUZZ/USD":-1}}}'
ATTACKS: dict[str, tuple[int, bytes]] = {
    "reserved opcode": (1002, masked(0x83, b"x")),
    "reserved bits": (1002, masked(0xF1, b"x")),
    "no mask": (1002, b"\x81\x01x"),
    "continuation of nothing": (1002, masked(0x80, b"x")),
    "fragmented ping": (1002, masked(0x09, b"x")),
    "long ping": (1002, masked(0x89, b"x" * 200)),
    "not utf-8": (1007, masked(0x81, b"\xff\xfe")),
    "endless length": (1009, b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(4)),
    "empty fragments": (1009, masked(0x01) + masked(0x00) * 2_000),
    "chance": (1002, Random(1).randbytes(4_096)),
    "requests": (1008, masked(0x81, b'{"method":"ping"}') * 3_000),
    "binary": (1008, masked(0x82, b"\x00\xff") * 3_000),
    "resumes": (1008, masked(0x81, RESUME) * 3_000),
}


@pytest.mark.component
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_client_is_closed_and_others_miss_nothing(api: Api, topics: Topics, attack: str) -> None:
    pair = "FUZZ/USD"
    topics.put("candles", [candle(0, pair)])
    wait_for(lambda: pair in api.context.view.pairs())
    start = api.context.view.position("candles", pair)[0]
    code, data = ATTACKS[attack]
    with api.connect() as well:
        hear(well)
        say(well, "subscribe", channel="candles", pairs=[pair], snapshot=False)
        hear(well)
        with api.connect() as hostile:
            wait_for(lambda: len(api.context.hub) == 2)
            hostile.socket.sendall(data)
            assert hear_close(hostile)[0] == code
        wait_for(lambda: len(api.context.hub) == 1)
        topics.put("candles", [candle(start + 100 + number, pair) for number in range(3)])
        assert [hear(well)["seq"] for _ in range(3)] == [start + 1, start + 2, start + 3]
    assert api.get("/health/ready").status_code == 200


@pytest.mark.component
def test_pings_of_a_client_that_does_not_read_fill_no_memory(api: Api) -> None:
    """Each would be answered by a pong: 10 MB of them."""
    with sockets.create_connection(("127.0.0.1", int(api.http.base_url.port or 0)), timeout=20) as client:
        client.sendall(
            b"GET /v1/feed HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        wait_for(lambda: len(api.context.hub) == 1)
        (subscriber,) = api.context.hub._subscribers
        wire: Any = subscriber._wire
        for _ in range(800):
            client.sendall(masked(0x89, b"x" * 120) * 100)
        assert subscriber.shut_since_s is not None
        assert wire.transport.get_write_buffer_size() < 500_000
    wait_for(lambda: len(api.context.hub) == 0)
