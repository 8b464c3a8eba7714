from __future__ import annotations

import msgspec
import pytest

from api.rows import forecast_row
from tables.records import ForecastError
from tests.api.stack import Api, Topics, hear, hear_beat, hear_close, say
from tests.support.samples import candle, forecast, forecast_error
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component


def test_forecast_on_the_topic_reaches_rest_and_socket_with_increasing_seq(api: Api, topics: Topics) -> None:
    pair = "FLOW/USD"
    topics.put("forecasts", [forecast(0, pair)])
    wait_for(lambda: api.get("/v1/forecasts/latest", pair=pair).status_code == 200)
    with api.connect() as socket:
        assert hear(socket)["type"] == "hello"
        say(socket, "subscribe", 7, channel="forecasts", pairs=[pair])
        ack = hear(socket)
        assert (ack["success"], ack["req_id"], ack["result"]["pairs"]) == (True, 7, [pair])
        snapshot = hear(socket)
        assert (snapshot["type"], snapshot["seq"], snapshot["simulated"]) == ("snapshot", 1, True)
        assert snapshot["data"] == [msgspec.to_builtins(forecast(0, pair))]
        topics.put("forecasts", [forecast(index, pair) for index in (1, 2, 3)])
        updates = [hear(socket) for _ in range(3)]
        assert [update["seq"] for update in updates] == [2, 3, 4]
        cursors = [update["cursor"] for update in updates]
        assert cursors == sorted(set(cursors))
    answer = api.get("/v1/forecasts/latest", pair=pair)
    assert answer.headers["X-Tickcast-Source"] == "sim"
    body = answer.json()
    assert body["simulated"] is True
    assert body["forecasts"] == [msgspec.to_builtins(forecast_row(forecast(3, pair)))]


def test_each_pair_and_channel_counts_for_itself(api: Api, topics: Topics) -> None:
    pairs = ["ONE/USD", "TWO/USD"]
    topics.put("candles", [candle(0, pair) for pair in pairs])
    wait_for(lambda: set(pairs) <= api.context.view.pairs())
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="candles", pairs=pairs)
        assert [hear(socket).get("seq") for _ in range(3)] == [None, 1, 1]
        say(socket, "subscribe", channel="candles-live", pairs=["ONE/USD"])
        assert [hear(socket).get("seq") for _ in range(2)] == [None, 0]
        topics.put("candles", [candle(1, "TWO/USD")])
        topics.put("candles-live", [candle(2, "ONE/USD", closed=False)])
        heard = {(m["channel"], m["pair"]): m["seq"] for m in (hear(socket), hear(socket))}
        assert heard == {("candles", "TWO/USD"): 2, ("candles-live", "ONE/USD"): 1}


def test_resume_sends_what_was_missed_and_says_where_it_cannot(api: Api, topics: Topics) -> None:
    pair = "RESUME/USD"
    topics.put("candles", [candle(index, pair) for index in range(4)])
    wait_for(lambda: api.context.view.position("candles", pair)[0] == 4)
    updates = api.context.view.since("candles", pair, -1)
    assert updates is not None
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="candles", pairs=[pair], resume={pair: updates[1].cursor})
        assert hear(socket)["result"]["gaps"] == []
        assert [hear(socket)["seq"] for _ in range(2)] == [3, 4]
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="candles", pairs=[pair], snapshot=False, resume={pair: 10**9})
        assert hear(socket)["result"]["gaps"] == [pair]
        assert hear(socket)["type"] == "snapshot"


def test_resume_from_a_process_that_was_further_waits_for_this_one(api: Api, topics: Topics) -> None:
    pair = "AHEAD/USD"
    topics.put("candles", [candle(0, pair)])
    wait_for(lambda: api.context.view.position("candles", pair)[0] == 1)
    cursor = api.context.view.position("candles", pair)[1]
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="candles", pairs=[pair], resume={pair: cursor + 1})
        topics.put("candles", [candle(1, pair)])
        assert hear(socket)["result"] == {"channel": "candles", "pairs": [pair], "gaps": []}
        topics.put("candles", [candle(2, pair)])
        assert hear(socket)["cursor"] == cursor + 2


def test_all_pairs_are_those_known_at_that_moment(api: Api, topics: Topics) -> None:
    topics.put("candles", [candle(0, "STAR/USD")])
    wait_for(lambda: "STAR/USD" in api.context.view.pairs())
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="errors", pairs=["*"], snapshot=False)
        result = hear(socket)["result"]
        assert result["pairs"] == sorted(api.context.view.pairs() | set(api.context.settings.pairs))
        assert result["cursors"]["STAR/USD"] == -1
        say(socket, "unsubscribe", channel="errors", pairs=["*"])
        assert hear(socket)["result"]["pairs"] == result["pairs"]


def test_what_became_of_forecasts_comes_on_its_own_channel(api: Api, topics: Topics) -> None:
    pair = "ERROR/USD"
    topics.put("forecast-errors", [forecast_error(0, pair), forecast_error(1, pair), forecast_error(0, pair, 300)])
    wait_for(lambda: api.context.view.position("errors", pair)[0] == 3)
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="errors", pairs=[pair])
        snapshot = [hear(socket) for _ in range(2)][1]
        rows = [forecast_error(1, pair), forecast_error(0, pair, 300)]
        assert (snapshot["seq"], msgspec.convert(snapshot["data"], list[ForecastError])) == (3, rows)
        topics.put("forecast-errors", [forecast_error(2, pair)])
        update = hear(socket)
        assert (update["seq"], msgspec.convert(update["data"], list[ForecastError])) == (4, [forecast_error(2, pair)])


def test_unsubscribed_channel_falls_silent(api: Api, topics: Topics) -> None:
    pair = "QUIET/USD"
    topics.put("candles", [candle(0, pair)])
    wait_for(lambda: pair in api.context.view.pairs())
    with api.connect() as socket:
        hear(socket)
        say(socket, "subscribe", channel="candles", pairs=[pair])
        say(socket, "subscribe", channel="forecasts", pairs=[pair])
        for _ in range(4):
            hear(socket)
        say(socket, "unsubscribe", 9, channel="candles", pairs=[pair])
        ack = hear(socket)
        assert (ack["method"], ack["success"], ack["req_id"]) == ("unsubscribe", True, 9)
        topics.put("candles", [candle(1, pair)])
        wait_for(lambda: api.context.view.position("candles", pair)[0] == 2)
        topics.put("forecasts", [forecast(0, pair)])
        assert hear(socket)["channel"] == "forecasts"
        say(socket, "unsubscribe", channel="candles", pairs=[pair])
        assert hear(socket)["error"]["code"] == "not-subscribed"
        say(socket, "unsubscribe", channel="forecasts", pairs=[pair, pair, "OTHER/USD"])
        assert hear(socket)["error"]["message"] == "not subscribed to forecasts of OTHER/USD"


def test_heartbeats_count_up_and_ping_is_answered(api: Api) -> None:
    with api.connect() as socket:
        first, second = hear_beat(socket), hear_beat(socket)
        assert second["counter"] == first["counter"] + 1
        assert first["stale"] is False
        say(socket, "ping", 3)
        pong = hear(socket)
        assert (pong["method"], pong["req_id"]) == ("pong", 3)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "bad-json"),
        ("[1]", "bad-json"),
        ("[" * 4_000, "bad-json"),
        (b"\x00\x01", "bad-json"),
        ("{}", "bad-request"),
        ('{"method":7}', "bad-request"),
        ('{"method":"ping","req_id":[1]}', "bad-request"),
        ('{"method":"shout"}', "unknown-method"),
        ('{"method":"subscribe"}', "bad-params"),
        ('{"method":"subscribe","params":{"channel":"candles","pairs":"BTC/USD"}}', "bad-params"),
        ('{"method":"subscribe","params":{"channel":"candles","pairs":[]}}', "bad-params"),
        ('{"method":"subscribe","params":{"channel":"book","pairs":["BTC/USD"]}}', "unknown-channel"),
        ('{"method":"subscribe","params":{"channel":"candles","pairs":["XXX/USD"]}}', "unknown-pair"),
    ],
)
def test_wrong_message_gets_an_error_and_the_connection_stays(api: Api, frame: str | bytes, code: str) -> None:
    with api.connect() as socket:
        hear(socket)
        socket.send(frame)
        answer = hear(socket)
        assert (answer["success"], answer["error"]["code"]) == (False, code)
        say(socket, "ping")
        assert hear(socket)["method"] == "pong"


@pytest.mark.parametrize("size", [4_097, 60_000])
def test_oversized_message_closes_with_its_reason(api: Api, size: int) -> None:
    with api.connect() as socket:
        hear(socket)
        socket.send("x" * size)
        assert hear_close(socket) == (1009, "message-too-big")
