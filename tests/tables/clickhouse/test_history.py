from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables.clickhouse import history, migrate, rows
from tables.clickhouse.client import connect
from tables.clickhouse.history import ErrorKey, ForecastKey
from tables.records import Forecast, Scored
from tests.api.seeded import error
from tests.support.samples import START_MS, features, forecast
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

PAIR = "BTC/USD"
ALWAYS = (0, 2**62)
# Several of everything that may stand at the same time: horizons, models, revisions, times of making.
FORECASTS = [
    forecast(index, PAIR, horizon_s, model=model, revision=revision, made_at_ms=START_MS + 1_000 * made)
    for index in range(3)
    for horizon_s in (60, 300)
    for model, revision, made in (("ewma", 0, 5), ("ewma", 1, 7), ("catboost", 0, 5), ("catboost", 1, 6))
]
ERRORS = [
    error(index, PAIR, horizon_s, model=model, model_version=version)
    for index in range(3)
    for horizon_s in (60, 300)
    for model, version in (("ewma", "1"), ("ewma", "2"), ("catboost", "1"))
]


@pytest.fixture(scope="module")
def filled(store: StoreProcess) -> Iterator[Client]:
    """One database for the tests that only read."""
    client = connect(store.settings("test_history"))
    migrate.apply(client)
    rows.insert_forecasts(client, FORECASTS, "a")
    rows.insert_errors(client, ERRORS, "a")
    yield client
    client.command(f"DROP DATABASE `{client.database}`", use_database=False)
    client.close()


def forecast_key(row: Forecast) -> ForecastKey:
    return ForecastKey(row.feature_open_ms, row.horizon_s, row.revision, row.made_at_ms, row.model)


def error_key(row: Scored) -> ErrorKey:
    return ErrorKey(row.feature_open_ms, row.horizon_s, row.model, row.model_version)


HORIZONS = st.sampled_from([None, 60, 300])
BOUNDS = st.integers(-1, 4).map(lambda index: START_MS + index * 60_000)
LIMITS = st.lists(st.integers(1, 30), min_size=1, max_size=30)
once = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@once
@given(HORIZONS, BOUNDS, BOUNDS, LIMITS)
def test_pages_of_any_size_are_together_one_big_read_of_forecasts(
    filled: Client, horizon_s: int | None, from_ms: int, to_ms: int, limits: list[int]
) -> None:
    whole = history.forecasts(filled, PAIR, horizon_s, from_ms, to_ms, 1_000)
    assert len(whole) == sum(
        horizon_s in {None, row.horizon_s} and from_ms <= row.feature_open_ms < to_ms for row in FORECASTS
    )
    paged: list[Forecast] = []
    after: ForecastKey | None = None
    for limit in [*limits, 1_000]:
        page = history.forecasts(filled, PAIR, horizon_s, from_ms, to_ms, limit, after)
        paged += page
        if len(page) < limit:
            break
        after = forecast_key(page[-1])
    assert paged == whole


@once
@given(HORIZONS, BOUNDS, BOUNDS, LIMITS)
def test_pages_of_any_size_are_together_one_big_read_of_errors(
    filled: Client, horizon_s: int | None, from_ms: int, to_ms: int, limits: list[int]
) -> None:
    whole = history.errors(filled, PAIR, horizon_s, from_ms, to_ms, 1_000)
    paged: list[Scored] = []
    after: ErrorKey | None = None
    for limit in [*limits, 1_000]:
        page = history.errors(filled, PAIR, horizon_s, from_ms, to_ms, limit, after)
        paged += page
        if len(page) < limit:
            break
        after = error_key(page[-1])
    assert paged == whole
    assert len(whole) == sum(
        horizon_s in {None, row.horizon_s} and from_ms <= row.feature_open_ms < to_ms for row in ERRORS
    )


def test_newest_first_then_by_horizon_and_the_newest_revision(filled: Client) -> None:
    found = history.forecasts(filled, PAIR, None, *ALWAYS, 4)
    assert [forecast_key(row) for row in found] == [
        (START_MS + 120_000, 60, 1, START_MS + 7_000, "ewma"),
        (START_MS + 120_000, 60, 1, START_MS + 6_000, "catboost"),
        (START_MS + 120_000, 60, 0, START_MS + 5_000, "catboost"),
        (START_MS + 120_000, 60, 0, START_MS + 5_000, "ewma"),
    ]


def test_rows_that_come_meanwhile_shift_no_page(store_client: Client) -> None:
    rows.insert_forecasts(store_client, [forecast(index) for index in range(4)], "a")
    first = history.forecasts(store_client, PAIR, None, *ALWAYS, 2)
    rows.insert_forecasts(store_client, [forecast(index) for index in range(4, 7)], "b")
    second = history.forecasts(store_client, PAIR, None, *ALWAYS, 2, forecast_key(first[-1]))
    assert [*first, *second] == [forecast(index) for index in (3, 2, 1, 0)]


def test_one_forecast_is_found_with_what_became_of_it(store_client: Client) -> None:
    revised = forecast(1, revision=1, made_at_ms=START_MS + 200_000)
    rows.insert_forecasts(
        store_client, [forecast(0), forecast(1), revised, forecast(1, model_version="2", model="x")], "a"
    )
    rows.insert_errors(store_client, [error(1, PAIR), error(1, PAIR, outcome_revision=1, outcome_price=7.0)], "a")
    found = history.forecasts_of_bar(store_client, PAIR, 60, START_MS + 60_000, "ewma", "1")
    assert found == [revised, forecast(1)]
    scored = history.outcome(store_client, found[0])
    assert scored is not None
    assert (scored.outcome_price, scored.below) == (7.0, (False, False, False, True, True))
    assert history.outcome(store_client, forecast(0)) is None
    assert history.forecasts_of_bar(store_client, PAIR, 60, START_MS, "ewma", "2") == []


def test_features_come_back_as_they_were_with_what_is_not_warm_as_none(store_client: Client) -> None:
    cold = features(1, value=None)
    rows.insert_features(store_client, [features(0), cold, features(2, timeframe="5m")], "a")
    assert history.features(store_client, PAIR, "1m", *ALWAYS, 10) == [cold, features(0)]
    assert history.features(store_client, PAIR, "1m", *ALWAYS, 1) == [cold]
    assert history.features(store_client, PAIR, "1m", START_MS, START_MS + 60_000, 10) == [features(0)]
    assert history.features(store_client, "ETH/USD", "1m", *ALWAYS, 10) == []
