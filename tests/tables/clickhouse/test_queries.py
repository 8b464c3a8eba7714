from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from redpanda.errors import BadInputError
from tables.clickhouse import history, queries, rows
from tables.clickhouse.queries import HoleHour, PairInfo
from tables.features import FEATURE_NAMES
from tests.support.samples import START_MS, candle, features, forecast, hole

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

ALWAYS = (0, 2**62)
MINUTE_MS = 60_000


def test_time_bounds_are_half_open_and_the_limit_takes_the_newest(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(index) for index in range(10)], "a")
    found = queries.candles(store_client, "BTC/USD", "1m", START_MS + 2 * MINUTE_MS, START_MS + 8 * MINUTE_MS, 3)
    assert found == [candle(7), candle(6), candle(5)]
    everything = queries.candles(store_client, "BTC/USD", "1m", START_MS + 2 * MINUTE_MS, START_MS + 8 * MINUTE_MS, 99)
    assert everything[-1] == candle(2)


def test_pairs_and_timeframes_are_kept_apart(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(0), candle(0, timeframe="5m"), candle(0, pair="ETH/USD")], "a")
    assert len(queries.candles(store_client, "BTC/USD", "1m", *ALWAYS, 10)) == 1
    assert queries.candles(store_client, "SOL/USD", "1m", *ALWAYS, 10) == []


def test_forecasts_of_one_or_all_horizons(store_client: Client) -> None:
    made = [forecast(index, horizon_s=horizon_s) for index in range(2) for horizon_s in (60, 300)]
    rows.insert_forecasts(store_client, made, "a")
    assert history.forecasts(store_client, "BTC/USD", 60, *ALWAYS, 10) == [
        forecast(1),
        forecast(0),
    ]
    assert history.forecasts(store_client, "BTC/USD", None, *ALWAYS, 3) == [
        forecast(1),
        forecast(1, horizon_s=300),
        forecast(0),
    ]


def test_the_latest_forecast_is_of_the_newest_bar_and_its_highest_revision(store_client: Client) -> None:
    revised = forecast(1, revision=1, made_at_ms=START_MS + 999_999, q50=42.0)
    rows.insert_forecasts(store_client, [forecast(0), forecast(1), revised, forecast(0, horizon_s=300)], "a")
    rows.insert_forecasts(store_client, [forecast(0, pair="ETH/USD")], "b")
    assert queries.latest_forecasts(store_client) == [
        revised,
        forecast(0, horizon_s=300),
        forecast(0, pair="ETH/USD"),
    ]


def test_a_pair_that_fell_silent_has_no_latest_forecast(store_client: Client) -> None:
    rows.insert_forecasts(store_client, [forecast(0, pair="ADA/USD"), forecast(8 * 1440)], "a")
    assert queries.latest_forecasts(store_client) == [forecast(8 * 1440)]


def test_an_empty_store_answers_with_nothing(store_client: Client) -> None:
    assert queries.latest_forecasts(store_client) == []
    assert queries.pairs(store_client) == []
    assert queries.candles(store_client, "BTC/USD", "1d", *ALWAYS, 1) == []
    table = queries.feature_table(store_client, "1m", ["BTC/USD"], *ALWAYS)
    assert {len(column) for column in table.values()} == {0}
    assert set(FEATURE_NAMES) < set(table)


def test_pairs_count_each_candle_once(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(index) for index in range(5)], "a")
    rows.insert_candles(store_client, [candle(4, source="kraken", revision=1), candle(0, pair="ADA/USD")], "b")
    assert queries.pairs(store_client) == [
        PairInfo("ADA/USD", "sim", START_MS, START_MS, 1),
        PairInfo("BTC/USD", "kraken", START_MS, START_MS + 4 * MINUTE_MS, 5),
    ]


def test_the_feature_table_is_ordered_typed_and_complete_over_pages(
    store_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "_PAGE_ROWS", 7)
    written = [
        features(index, None if index < 3 else 0.1 * index, pair=pair)
        for pair in ("ETH/USD", "BTC/USD")
        for index in range(20)
    ]
    rows.insert_features(store_client, written, "a")
    rows.insert_features(store_client, [features(5, -1.0, revision=1, synthetic=True)], "b")
    rows.insert_features(store_client, [features(30, feature_set="of-another-version")], "c")
    table = queries.feature_table(store_client, "1m", ["ETH/USD", "BTC/USD", "SOL/USD"], *ALWAYS)
    assert table["pair"].tolist() == ["BTC/USD"] * 20 + ["ETH/USD"] * 20
    assert table["open_ms"].tolist() == [START_MS + index * MINUTE_MS for index in range(20)] * 2
    assert np.isnan(table["rsi_14"][:3]).all()
    assert table["rsi_14"][5] == -1.0
    assert table["synthetic"].tolist() == [index == 5 for index in range(40)]
    assert table["rsi_14"][25] == 0.5
    assert table["rsi_14"].dtype == np.float64
    assert table["rsi_14"].flags.c_contiguous
    empty = queries.feature_table(store_client, "1m", [], *ALWAYS)
    assert {name: column.dtype.kind for name, column in empty.items()} == {
        name: column.dtype.kind for name, column in table.items()
    }


def test_bad_arguments_are_bad_input(store_client: Client) -> None:
    with pytest.raises(BadInputError, match="timeframe '2m' is unknown"):
        queries.candles(store_client, "BTC/USD", "2m", *ALWAYS, 1)
    with pytest.raises(BadInputError, match="limit 0"):
        history.forecasts(store_client, "BTC/USD", None, *ALWAYS, 0)


def test_holes_are_counted_by_pair_hour_and_newest_state(store_client: Client) -> None:
    hour_ms = 60 * MINUTE_MS
    later = START_MS + hour_ms
    written = [
        *(hole(1), hole(20), hole(20, "repaired", at_ms=START_MS + 5)),
        *(hole(40, "unrepairable", found_at_ms=later - 1), hole(60, "repaired", found_at_ms=later)),
        hole(1, pair="ADA/USD", last_id=1),
    ]
    rows.insert_holes(store_client, written, "a")
    assert queries.hole_hours(store_client, START_MS, later + 1) == [
        HoleHour("BTC/USD", later, 0, 1, 0, 0, 10, 0),
        HoleHour("ADA/USD", START_MS, 1, 0, 0, 1, 0, 0),
        HoleHour("BTC/USD", START_MS, 1, 1, 1, 10, 10, 10),
    ]
    assert [row.pair for row in queries.hole_hours(store_client, later, later + 1)] == ["BTC/USD"]


def test_a_hole_that_is_found_again_in_another_month_is_one_hole(store_client: Client) -> None:
    month_ms = 31 * 24 * 60 * MINUTE_MS
    again = hole(1, "repaired", found_at_ms=START_MS + month_ms, at_ms=START_MS + month_ms)
    rows.insert_holes(store_client, [hole(1), again], "a")
    assert [(row.open, row.repaired) for row in queries.hole_hours(store_client, *ALWAYS)] == [(0, 1)]
