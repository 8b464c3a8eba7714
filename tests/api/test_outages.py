from __future__ import annotations

from pathlib import Path

import pytest

from redpanda import admin
from redpanda.local import LocalBroker
from redpanda.settings import BrokerSettings
from tables.clickhouse import migrate
from tables.clickhouse.client import connect
from tables.clickhouse.rows import insert_candles
from tables.clickhouse.settings import StoreSettings
from tests.api.stack import Api, Topics, hear, hear_beat, hear_close, running_api, say
from tests.support.samples import candle, forecast
from tests.support.store import StoreProcess
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component


def test_bad_records_are_counted_and_skipped(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings, topics: Topics
) -> None:
    pair = "BAD/USD"
    with running_api(home, api_broker.url, store_settings) as api:
        api.wait_ready()
        before = api.context.feed.bad_records
        bad = (b"{", b'{"pair":"BAD/USD"}', b"\xff\xfe", None, b"[]")
        for value in bad:
            topics.put_raw("forecasts", pair, value)
        topics.put("forecasts", [forecast(0, pair)])
        wait_for(lambda: pair in api.context.view.pairs())
        assert api.context.feed.bad_records == before + len(bad)


def test_feed_outlives_its_broker_and_a_new_api_waits_until_it_has_caught_up(
    home: Path, api: Api, api_broker: LocalBroker, store_settings: StoreSettings
) -> None:
    pair = "BACK/USD"
    with Topics(api_broker.url) as topics:
        topics.put("forecasts", [forecast(0, pair)])
    wait_for(lambda: pair in api.context.view.pairs())
    with api.connect() as client:
        hear(client)
        say(client, "subscribe", channel="forecasts", pairs=[pair])
        assert [hear(client).get("seq") for _ in range(2)] == [None, 1]
        outages = api.context.feed.outages
        api_broker.kill()
        wait_for(lambda: api.context.feed.stale)
        wait_for(lambda: hear_beat(client)["stale"])
        ready = api.get("/health/ready")
        assert (ready.status_code, ready.json()["stale"]) == (200, True)
        assert api.get("/v1/forecasts/latest", pair=pair).json()["stale"] is True
        with running_api(home, api_broker.url, store_settings) as late:
            _refuses(late)
            assert api.context.feed.outages == outages + 1  # many tries, one outage
            api_broker.start()
            api_broker.wait_ready()
            wait_for(lambda: late.get("/health/ready").status_code == 200)
            assert late.get("/v1/forecasts/latest", pair=pair).json()["forecasts"], "ready before it had caught up"
        wait_for(lambda: not api.context.feed.stale)
        with Topics(api_broker.url) as topics:
            topics.put("forecasts", [forecast(1, pair)])
        assert hear(client)["seq"] == 2


def _refuses(api: Api) -> None:
    ready = api.get("/health/ready")
    assert ready.status_code == 503
    assert [reason["part"] for reason in ready.json()["reasons"]] == ["feed"]
    latest = api.get("/v1/forecasts/latest")
    assert (latest.status_code, "Retry-After" in latest.headers) == (503, True)
    with api.connect() as client:
        assert hear_close(client) == (1013, "catching-up")


def test_topic_made_anew_sends_clients_off_and_starts_over(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings, topics: Topics
) -> None:
    pair = "ANEW/USD"
    topics.put("candles-live", [candle(index, pair, closed=False) for index in range(3)])
    broker = BrokerSettings(broker_url=api_broker.url, partitions=2)
    with running_api(home, api_broker.url, store_settings, pairs=pair) as api, admin.connect(broker) as client:
        api.wait_ready()
        session = api.context.session
        with api.connect() as subscriber:
            hear(subscriber)
            client.delete_topics(["candles-live"])
            wait_for(lambda: "candles-live" in admin.diff(client, broker).missing)
            admin.apply(client, broker)
            assert hear_close(subscriber) == (1012, "feed-reset")
        api.wait_ready()
        assert api.context.session != session
        topics.put("candles-live", [candle(9, pair, closed=False)])
        wait_for(lambda: api.context.view.position("candles-live", pair)[0] == 1)


def test_store_that_is_killed_and_comes_back_is_a_time_of_503_and_nothing_else(
    home: Path, tmp_path: Path, api_broker: LocalBroker
) -> None:
    store = StoreProcess(tmp_path)
    store.start()
    patient = store.settings()
    client = connect(patient)
    migrate.apply(client)
    insert_candles(client, [candle(0, "OUT/USD")], "outage")
    client.close()
    impatient = patient.model_copy(update={"store_connect_timeout_s": 0.1, "store_request_timeout_s": 3})
    try:
        with running_api(home, api_broker.url, impatient) as api:
            api.wait_ready()
            asked = {"pair": "OUT/USD"}
            before = api.get("/v1/candles", **asked).json()["candles"]
            assert len(before) == 1
            store.kill()
            gone = api.get("/v1/candles", **asked)
            assert (gone.status_code, int(gone.headers["Retry-After"]) > 0) == (503, True)
            assert api.get("/health/ready").status_code == 503
            assert api.get("/health/live").status_code == 200
            store.start()
            wait_for(lambda: api.get("/health/ready").status_code == 200, 30)
            assert api.get("/v1/candles", **asked).json()["candles"] == before
    finally:
        store.stop()
