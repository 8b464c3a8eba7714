from __future__ import annotations

import socket as sockets
import time
from pathlib import Path
from statistics import median

import pytest

from redpanda.local import LocalBroker
from tables.clickhouse.settings import StoreSettings
from tests.api.stack import Topics, hear, hear_close, running_api, say
from tests.support.samples import candle
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component


def test_connections_and_subscriptions_are_bounded(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings
) -> None:
    limits = {"ws_connections_max": 1, "ws_subscriptions_max": 3, "api_page_max": 5}
    with running_api(home, api_broker.url, store_settings, **limits) as api:
        api.wait_ready()
        with api.connect() as client:
            assert hear(client)["subscriptions_max"] == 3
            with api.connect() as other:
                assert hear_close(other) == (1013, "too-many-connections")
            say(client, "subscribe", channel="candles", pairs=["BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD"])
            assert hear(client)["error"]["code"] == "too-many-subscriptions"
            say(client, "subscribe", channel="candles", pairs=["BTC/USD", "ETH/USD", "BTC/USD"], snapshot=False)
            assert hear(client)["result"]["pairs"] == ["BTC/USD", "ETH/USD"]
            say(client, "subscribe", channel="forecasts", pairs=["BTC/USD", "ETH/USD"])
            assert hear(client)["error"]["code"] == "too-many-subscriptions"
        wait_for(lambda: len(api.context.hub) == 0)
        with api.connect() as client:
            assert hear(client)["type"] == "hello"
        assert api.get("/v1/candles", pair="BTC/USD", limit=6).status_code == 400


def test_slow_consumer_is_dropped_by_name_and_others_miss_nothing(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings, topics: Topics
) -> None:
    pair = "SLOW/USD"
    with running_api(home, api_broker.url, store_settings, ws_queue_max=300, pairs=pair) as api:
        api.wait_ready()
        narrow = sockets.socket()
        narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
        narrow.connect(("127.0.0.1", int(api.http.base_url.port or 0)))
        with api.connect() as fast, api.connect(sock=narrow, max_queue=1) as slow:
            for client in (fast, slow):
                hear(client)
                say(client, "subscribe", channel="candles", pairs=[pair], snapshot=False)
                hear(client)
            seqs: list[int] = []
            delays_s: list[float] = []
            while not api.context.hub.dropped:
                assert len(seqs) < 5_000
                start = len(seqs)
                topics.put("candles", [candle(index, pair) for index in range(start, start + 100)])
                sent_s = time.monotonic()
                seqs += [hear(fast)["seq"] for _ in range(100)]
                delays_s.append(time.monotonic() - sent_s)
            # Most of these rounds ran beside a client whose socket was full.
            assert median(delays_s[len(delays_s) // 2 :]) < 0.5, delays_s
            assert hear_close(slow) == (1008, "slow-consumer")
            topics.put("candles", [candle(len(seqs), pair)])
            seqs.append(hear(fast)["seq"])
            assert seqs == list(range(1, len(seqs) + 1))
            assert api.context.hub.dropped == {"slow-consumer": 1}
            assert len(api.context.hub) == 1


def test_each_limit_closes_with_its_own_reason(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings
) -> None:
    limits = {
        "ws_connections_per_address_max": 1,
        "ws_messages_per_s": 0.1,
        "ws_messages_burst": 3,
        "ws_subscribe_within_s": 1,
        "ws_idle_s": 1,
    }
    with running_api(home, api_broker.url, store_settings, **limits) as api:
        api.wait_ready()
        with api.connect() as client:
            say(client, "ping")  # does not count as a subscription
            with api.connect() as other:
                assert hear_close(other) == (1008, "too-many-connections-of-address")
            assert hear_close(client) == (1008, "no-subscription")
        wait_for(lambda: len(api.context.hub) == 0)
        with api.connect() as client:
            for method in ("subscribe", "unsubscribe"):
                say(client, method, channel="candles", pairs=["BTC/USD"])
            assert hear_close(client) == (1008, "idle")
        wait_for(lambda: len(api.context.hub) == 0)
        with api.connect() as client:
            say(client, "subscribe", channel="candles", pairs=["BTC/USD"])
            for _ in range(3):
                say(client, "ping")
            assert hear_close(client) == (1008, "too-many-messages")
        assert api.context.hub.dropped == {"no-subscription": 1, "idle": 1, "too-many-messages": 1}
