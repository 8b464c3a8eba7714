from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redpanda.local import LocalBroker
from tables.clickhouse.client import connect
from tables.clickhouse.rows import insert_candles, insert_forecasts
from tables.clickhouse.settings import StoreSettings
from tests.api.stack import Api, Topics, running_api
from tests.support.samples import START_MS, candle, forecast
from tests.support.waiting import wait_for

pytestmark = pytest.mark.component

PAIR = "STORE/USD"
CANDLES = [candle(index, PAIR) for index in range(5)]
FORECASTS = [forecast(index, PAIR, horizon_s) for index in range(3) for horizon_s in (60, 300)]


@pytest.fixture(scope="module", autouse=True)
def stored(store_settings: StoreSettings) -> Iterator[None]:
    client = connect(store_settings)
    insert_candles(client, CANDLES, "test-rest-candles")
    insert_forecasts(client, FORECASTS, "test-rest-forecasts")
    yield
    client.close()


def test_candles_come_from_the_store_newest_first(api: Api) -> None:
    answer = api.get("/v1/candles", pair=PAIR, timeframe="1m", limit=3)
    assert answer.status_code == 200
    assert answer.headers["X-Tickcast-Source"] == "sim"
    body = answer.json()
    assert body["candles"] == [msgspec.to_builtins(row) for row in reversed(CANDLES)][:3]
    assert (body["source"], body["simulated"]) == ("sim", True)
    assert body["as_of"].endswith("Z")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (str(START_MS + 60_000), str(START_MS + 180_000)),
        ("2018-05-13T00:01:00Z", "2018-05-13T00:03:00Z"),
        ("2018-05-13T02:01:00+02:00", "2018-05-13T00:03:00.000Z"),
    ],
)
def test_window_takes_either_form_of_time_and_leaves_its_end_out(api: Api, start: str, end: str) -> None:
    body = api.get("/v1/candles", **{"pair": PAIR, "from": start, "to": end}).json()
    assert [row["open_ms"] for row in body["candles"]] == [START_MS + 120_000, START_MS + 60_000]


def test_forecast_history_can_be_cut_to_one_horizon(api: Api) -> None:
    every = api.get("/v1/forecasts", pair=PAIR).json()["forecasts"]
    assert len(every) == 6
    one = api.get("/v1/forecasts", pair=PAIR, horizon_s=300, limit=2).json()["forecasts"]
    assert one == [msgspec.to_builtins(row) for row in (FORECASTS[5], FORECASTS[3])]


def test_pairs_tell_what_is_stored_and_what_is_awaited(api: Api) -> None:
    body = api.get("/v1/pairs").json()
    rows = {row["pair"]: row for row in body["pairs"]}
    assert rows[PAIR]["candles"] == 5
    assert (rows[PAIR]["first_ms"], rows[PAIR]["last_ms"]) == (START_MS, START_MS + 240_000)
    assert rows["ADA/USD"] == {
        "pair": "ADA/USD",
        "source": "sim",
        "simulated": True,
        "candles": 0,
        "first_ms": None,
        "last_ms": None,
    }


@pytest.mark.parametrize(
    ("path", "parameters", "field"),
    [
        ("/v1/candles", {}, "pair"),
        ("/v1/candles", {"pair": "x" * 41}, "pair"),
        ("/v1/candles", {"pair": PAIR, "timeframe": "2m"}, "timeframe"),
        ("/v1/candles", {"pair": PAIR, "limit": "0"}, "limit"),
        ("/v1/candles", {"pair": PAIR, "limit": "1001"}, "limit"),
        ("/v1/candles", {"pair": PAIR, "limit": "many"}, "limit"),
        ("/v1/candles", {"pair": PAIR, "from": "yesterday"}, "from"),
        ("/v1/candles", {"pair": PAIR, "to": "2018-05-13T00:00:00"}, "to"),
        ("/v1/candles", {"pair": PAIR, "from": "2", "to": "1"}, "from"),
        ("/v1/forecasts", {"pair": PAIR, "horizon_s": "-5"}, "horizon_s"),
        ("/v1/forecasts", {"horizon_s": "60"}, "pair"),
        ("/v1/forecasts/latest", {"horizon_s": "1.5"}, "horizon_s"),
    ],
)
def test_bad_parameter_is_a_problem_that_names_it(api: Api, path: str, parameters: dict[str, Any], field: str) -> None:
    answer = api.get(path, **parameters)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:tickcast:problem:bad-parameter"
    assert problem["status"] == 400
    assert field in [error["field"] for error in problem["errors"]]
    assert field in problem["detail"]


@pytest.mark.parametrize("path", ["/v1/candles", "/v1/forecasts", "/v1/forecasts/latest"])
def test_unknown_pair_is_not_found(api: Api, path: str) -> None:
    answer = api.get(path, pair="NOPE/USD")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:tickcast:problem:unknown-pair"


def test_known_pair_without_rows_is_an_empty_list(api: Api) -> None:
    assert api.get("/v1/candles", pair="ADA/USD").json()["candles"] == []


def test_unknown_route_and_wrong_method_are_problems(api: Api) -> None:
    for answer in (api.get("/v2/candles"), api.http.post("/v1/candles")):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    assert api.get("/v2/candles").status_code == 404
    assert api.http.post("/v1/candles").status_code == 405


def test_index_links_lead_somewhere(api: Api) -> None:
    body = api.get("/v1").json()
    assert body["simulated"] is True
    for name, link in body["links"].items():
        if "WebSocket" not in name:
            assert api.http.get(link).status_code == 200, link


def test_openapi_document_lists_every_route_and_its_references_resolve(api: Api) -> None:
    document = api.get("/schema/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    routes = {
        "/v1/forecasts/latest",
        "/v1/forecasts",
        "/v1/candles",
        "/v1/pairs",
        "/v1/models/{horizon_s}/report",
        "/health/live",
        "/health/ready",
        "/v1",
    }
    assert set(document["paths"]) == routes
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all("200" in operation["responses"] for operation in operations)
    for reference in _references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    errors = document["paths"]["/v1/candles"]["get"]["responses"]
    assert set(errors) == {"200", "400", "404", "503"}
    assert "application/problem+json" in errors["400"]["content"]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_documentation_page_needs_no_script(api: Api) -> None:
    page = api.get("/schema").text
    assert "/v1/forecasts/latest" in page
    assert "<script" not in page
    for path in ("/schema/scalar", "/schema/swagger"):
        assert api.get(path).status_code == 200


def test_store_that_is_away_is_503_with_retry_after_while_latest_goes_on(
    home: Path, api_broker: LocalBroker, topics: Topics
) -> None:
    topics.put("forecasts", [forecast(0, "AWAY/USD")])
    nowhere = StoreSettings(clickhouse_url=f"local://{home}/none", store_connect_timeout_s=0.1)
    with running_api(home, api_broker.url, nowhere) as api:
        wait_for(lambda: api.get("/v1/forecasts/latest").status_code == 200)
        for path in ("/v1/candles", "/v1/forecasts", "/v1/pairs"):
            answer = api.get(path, pair="BTC/USD")
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["type"] == "urn:tickcast:problem:unavailable"
        ready = api.get("/health/ready")
        assert ready.status_code == 503
        assert [reason["part"] for reason in ready.json()["reasons"]] == ["store"]
        assert "tickcast store serve" in ready.json()["reasons"][0]["detail"]
        assert api.get("/v1/forecasts/latest", pair="AWAY/USD").status_code == 200
        assert api.get("/health/live").json() == {"alive": True, "dead_tasks": []}
