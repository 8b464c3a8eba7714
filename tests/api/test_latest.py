from __future__ import annotations

import gzip
from typing import Any

import msgspec
import pytest

from api.latest import FRESH_MS, Latest
from api.schemas import LatestForecasts
from api.views import MarketView
from tests.support.samples import START_MS, forecast


class Fixture:
    """A view, a clock and what is answered of them."""

    def __init__(self) -> None:
        self.view = MarketView(history=10, ring=10)
        self.now_ms = START_MS
        self.latest = Latest(self.view, "sim", lambda: self.now_ms)
        self._cursor = 0
        self.put()

    def put(self, index: int = 0, **changes: Any) -> None:
        self._cursor += 1
        self.view.apply("forecasts", forecast(index, **changes), self._cursor)

    def body(self, pair: str | None = None, horizon_s: int | None = None, *, stale: bool = False) -> LatestForecasts:
        return msgspec.json.decode(self.latest.of(pair, horizon_s, stale=stale).body, type=LatestForecasts)


@pytest.fixture
def made() -> Fixture:
    return Fixture()


def test_answer_is_encoded_once_while_nothing_changes(made: Fixture) -> None:
    first = made.latest.of(None, None, stale=False)
    made.now_ms += FRESH_MS - 1
    assert made.latest.of(None, None, stale=False) is first
    assert made.latest.of("BTC/USD", None, stale=False) is not first


def test_new_forecast_shows_at_once(made: Fixture) -> None:
    before = made.latest.of(None, None, stale=False)
    made.put(1)
    assert made.body().forecasts[0].feature_open_ms == START_MS + 60_000
    assert made.latest.of(None, None, stale=False).headers["ETag"] != before.headers["ETag"]


def test_older_forecast_changes_nothing(made: Fixture) -> None:
    made.put(5)
    before = made.latest.of(None, None, stale=False)
    made.put(4)
    assert made.latest.of(None, None, stale=False) is before


def test_lost_broker_and_its_return_show_at_once(made: Fixture) -> None:
    assert [made.body(stale=stale).stale for stale in (False, True, False)] == [False, True, False]


def test_view_that_starts_over_is_empty_at_once(made: Fixture) -> None:
    assert made.body().forecasts
    made.view.clear()
    assert made.body().forecasts == []


def test_as_of_is_never_older_than_its_bound(made: Fixture) -> None:
    for step_ms in (0, FRESH_MS - 1, 1, FRESH_MS, 5_000):
        made.now_ms += step_ms
        assert made.now_ms - FRESH_MS < made.body().as_of_ms <= made.now_ms
    made.now_ms -= 60_000  # the clock was set back
    assert made.body().as_of_ms == made.now_ms


def test_validator_outlives_as_of(made: Fixture) -> None:
    before = made.latest.of(None, None, stale=False)
    made.now_ms += 60_000
    after = made.latest.of(None, None, stale=False)
    assert after.body != before.body
    assert after.headers["ETag"] == before.headers["ETag"]
    assert after.response(None, before.headers["ETag"]).status_code == 304
    assert after.response(None, f'"other", {before.headers["ETag"]}').status_code == 304
    assert after.response(None, '"other"').content == after.body


def test_gzip_is_the_same_body(made: Fixture) -> None:
    answer = made.latest.of(None, None, stale=False)
    response = answer.response("gzip, deflate", None)
    assert gzip.decompress(response.content) == answer.body
    assert response.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in answer.response("br", None).headers


def test_what_does_not_exist_is_not_kept(made: Fixture) -> None:
    for number in range(5_000):
        made.latest.of(f"NO{number}/USD", None, stale=False)
    assert len(made.latest._kept) <= 1


def test_kept_answers_are_bounded() -> None:
    made = Fixture()
    for number in range(1_500):
        made.put(pair=f"P{number}/USD")
        made.body(f"P{number}/USD")
    assert len(made.latest._kept) <= 1_000
