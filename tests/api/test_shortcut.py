from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.shortcut import _parsed
from tests.api.stack import Api, Topics
from tests.support.samples import forecast
from tests.support.waiting import wait_for

PAIR = "SHORT/USD"
ROUTE = "&by=route"
"""What the shortcut does not know it hands on, and the route ignores it."""
OWN = ("date", "x-request-id", "ratelimit")


@pytest.fixture(scope="module")
def market(api: Api, api_topics: Topics) -> Api:
    api_topics.put("forecasts", [forecast(1, PAIR, horizon_s) for horizon_s in (60, 300)])
    wait_for(lambda: len(api.context.view.latest_forecasts(PAIR)) == 2)
    return api


@pytest.fixture(scope="module")
def api_topics(api_broker: object) -> Iterator[Topics]:
    with Topics(api_broker.url) as writer:  # type: ignore[attr-defined]  # LocalBroker
        yield writer


def same(one: httpx.Response, other: httpx.Response) -> None:
    assert one.status_code == other.status_code
    kept = [{name: value for name, value in answer.headers.items() if name not in OWN} for answer in (one, other)]
    assert kept[0] == kept[1]
    if one.content:
        bodies = [answer.json() for answer in (one, other)]
        for body in bodies:
            body.pop("as_of", None), body.pop("as_of_ms", None), body.pop("instance", None)
        assert bodies[0] == bodies[1]


# Before any API runs: aiokafka draws at random in its thread, which Hypothesis takes for a draw of its own.
@given(st.binary(max_size=80))
def test_any_query_is_read_or_handed_on(query: bytes) -> None:
    asked = _parsed(query)
    assert asked is None or asked == (None, None) or any(asked)


@pytest.mark.component
@pytest.mark.parametrize(
    "query",
    [
        f"pair={PAIR}",
        "pair=SHORT%2FUSD&horizon_s=300",
        f"horizon_s=60&pair={PAIR}",
        f"pair={PAIR}&horizon_s=7",
        "pair=NOBODY/USD",
        "horizon_s=0",
        "horizon_s=x",
        f"pair={PAIR}&pair=ETH/USD",
        "pair=",
    ],
)
def test_shortcut_and_route_give_the_same_answer(market: Api, query: str) -> None:
    for headers in ({"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip"}):
        short, long = (market.http.get(f"/v1/forecasts/latest?{query}{more}", headers=headers) for more in ("", ROUTE))
        same(short, long)


@pytest.mark.component
def test_shortcut_knows_what_the_client_has(market: Api) -> None:
    path = f"/v1/forecasts/latest?pair={PAIR}"
    tag = market.http.get(path).headers["ETag"]
    answers = [market.http.get(path + more, headers={"If-None-Match": tag}) for more in ("", ROUTE)]
    assert [answer.status_code for answer in answers] == [304, 304]
    same(*answers)
