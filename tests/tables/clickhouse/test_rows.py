from __future__ import annotations

import asyncio
import itertools
import math
import struct
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from redpanda.errors import BadInputError
from tables.clickhouse import rows
from tables.clickhouse.client import connect_async
from tables.clickhouse.history import forecasts
from tables.clickhouse.queries import candles, feature_table
from tables.clickhouse.settings import StoreSettings
from tables.features import FEATURE_NAMES
from tables.records import Alert, ForecastError, Hole, Trade
from tests.support.samples import (
    START_MS,
    candle,
    dead_letter,
    features,
    forecast,
    hole,
    in_service,
    late_trade,
)

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

ALWAYS = (0, 2**62)
COUNTER = itertools.count()


def count(client: Client, table: str, final: str = "") -> int:
    found: int = client.query(f"SELECT count() FROM {table} {final}").result_rows[0][0]  # noqa: S608  (names of ours)
    return found


def test_every_field_of_a_candle_comes_back(store_client: Client) -> None:
    written = [
        candle(0),
        candle(1, synthetic=True, trades=0, first_trade_id=-1, last_trade_id=-1, closed_by="timer"),
        candle(2, closed=False, closed_by="", revision=7, source="kraken"),
    ]
    assert rows.insert_candles(store_client, written, "a") == 3
    assert candles(store_client, "BTC/USD", "1m", *ALWAYS, 10) == written[::-1]


def test_every_field_of_a_forecast_comes_back(store_client: Client) -> None:
    written = [forecast(0, trusted=False, reasons=["warm-up", "synthetic"]), forecast(1)]
    assert rows.insert_forecasts(store_client, written, "a") == 2
    assert forecasts(store_client, "BTC/USD", 60, *ALWAYS, 10) == written[::-1]


def an_error(index: int = 0, **changes: Any) -> ForecastError:
    made = forecast(index)
    error = ForecastError(
        pair=made.pair,
        horizon_s=made.horizon_s,
        feature_open_ms=made.feature_open_ms,
        target_ms=made.target_ms,
        model=made.model,
        model_version=made.model_version,
        trusted=True,
        source="sim",
        base_price=100.0,
        outcome_price=100.2,
        outcome_revision=0,
        synthetic=False,
        return_bps=20.0,
        error_bps=-3.0,
        pinball_bps=2.0,
        baseline_pinball_bps=4.0,
        below=(False, False, False, True, True),
        scored_at_ms=START_MS,
    )
    return msgspec.structs.replace(error, **changes)


def test_accuracy_by_hour_takes_the_newest_revision_and_no_synthetic_outcome(store_client: Client) -> None:
    written = [
        an_error(0),
        an_error(1, outcome_revision=1, pinball_bps=3.0, error_bps=5.0, below=(False, False, False, False, True)),
        an_error(1, pinball_bps=99.0),
        an_error(2, synthetic=True, pinball_bps=77.0),
    ]
    assert rows.insert_errors(store_client, written, "a") == 4
    assert rows.insert_errors(store_client, written[:1], "b") == 1
    found = store_client.query(
        "SELECT pair, horizon_s, model, model_version, scored, pinball_bps, baseline_pinball_bps, skill, coverage50, "
        "coverage90, mae_bps FROM forecast_accuracy"
    ).result_rows
    assert found == [("BTC/USD", 60, "ewma", "1", 2, 2.5, 4.0, 0.375, 0.5, 1.0, 4.0)]


def test_every_field_of_an_alert_comes_back(store_client: Client) -> None:
    written = Alert("BTC/USD", "coverage", 300, True, 0.8, 0.87, "too narrow", START_MS)
    assert rows.insert_alerts(store_client, [written], "a") == 1
    found = store_client.query(
        "SELECT pair, name, horizon_s, raised, value, bound, text, toUnixTimestamp64Milli(at) FROM alerts FINAL"
    ).result_rows
    assert found == [msgspec.structs.astuple(written)]


def test_every_field_of_a_trade_comes_back_once(store_client: Client) -> None:
    first, second = (
        Trade("BTC/USD", 1, 1_700_000_000_123_456_789, 100.5, 0.25, "sell", "limit", "sim"),
        late_trade().trade,
    )
    assert rows.insert_trades(store_client, [first, second, first], "a") == 3
    assert rows.insert_trades(store_client, [second], "b") == 1
    by_rest = msgspec.structs.replace(first, ts_ns=first.ts_ns - 89)
    assert rows.insert_trades(store_client, [by_rest, first], "c") == 2
    found = store_client.query(
        "SELECT pair, trade_id, toUnixTimestamp64Nano(time), price, qty, side, ord_type, source FROM trades FINAL "
        "ORDER BY time DESC"
    ).result_rows
    assert found == [msgspec.structs.astuple(first), msgspec.structs.astuple(second)]


def test_every_field_of_a_late_trade_comes_back_once(store_client: Client) -> None:
    written = late_trade()
    assert rows.insert_late_trades(store_client, [written], "a") == 1
    assert rows.insert_late_trades(store_client, [written], "b") == 1
    found = store_client.query(
        "SELECT pair, trade_id, toUnixTimestamp64Nano(time), price, qty, side, source, reason, "
        "toUnixTimestamp64Milli(watermark) FROM late_trades FINAL"
    ).result_rows
    trade = written.trade
    assert found == [
        (
            trade.pair,
            trade.trade_id,
            trade.ts_ns,
            trade.price,
            trade.qty,
            trade.side,
            trade.source,
            written.reason,
            written.watermark_ms,
        )
    ]


def test_every_field_of_a_model_in_service_comes_back(store_client: Client) -> None:
    written = [in_service(), in_service("0", model="ewma", data_to_ms=None, expires_at_ms=None, at_ms=START_MS + 1)]
    assert rows.insert_models(store_client, written, "a") == 2
    found = store_client.query(
        "SELECT horizon_s, model, model_version, model_alias, feature_set, source, toUnixTimestamp64Milli(data_to), "
        "toUnixTimestamp64Milli(expires_at), worker, toUnixTimestamp64Milli(at) FROM models FINAL ORDER BY at"
    ).result_rows
    assert found == [msgspec.structs.astuple(one) for one in written]


def test_the_model_that_went_into_service_last_serves_and_has_no_date_of_the_one_before(store_client: Client) -> None:
    rows.insert_models(store_client, [in_service(), in_service("4", horizon_s=300)], "a")
    rows.insert_models(store_client, [in_service("0", model="ewma", data_to_ms=None, at_ms=START_MS + 1)], "b")
    found = store_client.query(
        "SELECT horizon_s, model, model_version, data_to, toUnixTimestamp64Milli(since) FROM models_in_service "
        "ORDER BY horizon_s"
    ).result_rows
    assert found[0] == (60, "ewma", "0", None, START_MS + 1)
    assert (found[1][:3], found[1][4]) == ((300, "catboost", "4"), START_MS)


def test_dead_letters_may_hold_any_text(store_client: Client) -> None:
    assert rows.insert_dead_letters(store_client, [dead_letter()], "a") == 1
    found = store_client.query("SELECT payload, reason, toUnixTimestamp64Milli(at) FROM dead_letters").result_rows
    assert found == [(dead_letter().payload, "price-not-positive", START_MS)]


def test_the_same_batch_and_token_again_writes_nothing(store_client: Client) -> None:
    batch = [features(index) for index in range(5000)]
    for _ in range(3):
        assert rows.insert_features(store_client, batch, "features-0-0-4999") == 5000
    assert count(store_client, "features") == 5000


def test_another_token_with_equal_rows_is_settled_by_final(store_client: Client) -> None:
    batch = [candle(index) for index in range(10)]
    rows.insert_candles(store_client, batch, "a")
    rows.insert_candles(store_client, batch, "b")
    assert count(store_client, "candles") == 20
    assert count(store_client, "candles", "FINAL") == 10


def test_an_overlapping_batch_leaves_each_row_once(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(index) for index in range(60)], "0-59")
    rows.insert_candles(store_client, [candle(index) for index in range(30, 90)], "30-89")
    assert candles(store_client, "BTC/USD", "1m", *ALWAYS, 200) == [candle(index) for index in reversed(range(90))]


def test_a_candle_of_newer_trades_replaces_and_one_of_older_trades_does_not(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(0, as_of_ms=1_000, close=7.0)], "a")
    rows.insert_candles(store_client, [candle(0, as_of_ms=2_000, revision=1, close=8.0)], "b")
    rows.insert_candles(store_client, [candle(0, as_of_ms=1_500, revision=2, close=6.0)], "c")
    assert [row.close for row in candles(store_client, "BTC/USD", "1m", *ALWAYS, 10)] == [8.0]


def test_a_forecast_that_is_made_again_does_not_replace_the_published_one(store_client: Client) -> None:
    first = forecast(0)
    again = msgspec.structs.replace(first, made_at_ms=first.made_at_ms + 5000, q50=55.0, model_version="2")
    rows.insert_forecasts(store_client, [again], "a")
    rows.insert_forecasts(store_client, [first], "b")
    rows.insert_forecasts(store_client, [again], "c")
    assert forecasts(store_client, "BTC/USD", None, *ALWAYS, 10) == [first]
    store_client.command("OPTIMIZE TABLE forecasts FINAL")
    assert forecasts(store_client, "BTC/USD", None, *ALWAYS, 10) == [first]


def test_fifteen_years_of_daily_candles_fit_one_batch(store_client: Client) -> None:
    days = [candle(index - 5000, timeframe="1d") for index in range(5500)]
    assert rows.insert_candles(store_client, days, "a") == 5500
    assert count(store_client, "candles", "FINAL") == 5500


def test_an_empty_batch_is_no_request(store_client: Client) -> None:
    assert rows.insert_candles(store_client, [], "a") == 0
    assert rows.insert_features(store_client, [], "a") == 0


def test_features_of_another_version_are_bad_input(store_client: Client) -> None:
    with pytest.raises(BadInputError, match=r"other names than the catalogue \(rsi_99\)"):
        rows.insert_features(store_client, [features(0, values={**features().values, "rsi_99": 1.0})], "a")
    assert count(store_client, "features") == 0


def test_a_value_of_a_wrong_type_is_bad_input_and_writes_nothing(store_client: Client) -> None:
    with pytest.raises(BadInputError):
        rows.insert_candles(store_client, [candle(0), candle(1, trades=-1)], "a")
    assert count(store_client, "candles") == 0


def test_feature_names_in_another_order_land_in_their_columns(store_client: Client) -> None:
    values: dict[str, float | None] = {name: float(index) for index, name in enumerate(FEATURE_NAMES)}
    rows.insert_features(store_client, [features(0, values=dict(reversed(values.items())))], "a")
    table = feature_table(store_client, "1m", ["BTC/USD"], *ALWAYS)
    assert [table[name][0] for name in FEATURE_NAMES] == list(range(len(FEATURE_NAMES)))


def test_the_asynchronous_writer_does_the_same(store_client: Client, store_settings: StoreSettings) -> None:
    async def go() -> int:
        client = await connect_async(store_settings)
        batch = rows.candle_batch([candle(0), candle(1)])
        written = await rows.insert_async(client, batch, "a") + await rows.insert_async(client, batch, "a")
        await client.close()
        return written

    assert asyncio.run(go()) == 4
    assert count(store_client, "candles") == 2


@given(
    values=st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=len(FEATURE_NAMES), max_size=len(FEATURE_NAMES))
)
@hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.large_base_example],
)
def test_floats_come_back_bit_by_bit(store_client: Client, values: list[float | None]) -> None:
    pair = f"X{next(COUNTER)}/USD"
    row = features(0, pair=pair, values=dict(zip(FEATURE_NAMES, values, strict=True)))
    rows.insert_features(store_client, [row], pair)
    table = feature_table(store_client, "1m", [pair], *ALWAYS)
    for name, value in row.values.items():
        if value is None or math.isnan(value):
            assert math.isnan(table[name][0])
        else:
            assert struct.pack("d", table[name][0]) == struct.pack("d", value)


@given(prices=st.lists(st.floats(min_value=1e-12, max_value=1e12), min_size=4, max_size=40))
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_candle_prices_come_back_exactly(store_client: Client, prices: list[float]) -> None:
    pair = f"Y{next(COUNTER)}/USD"
    written = [candle(index, pair=pair, close=price, volume=1 / price) for index, price in enumerate(prices)]
    rows.insert_candles(store_client, written, pair)
    assert candles(store_client, pair, "1m", *ALWAYS, 100) == written[::-1]


def test_features_of_newer_trades_replace_and_those_of_older_ones_do_not(store_client: Client) -> None:
    for at, (as_of_ms, value) in enumerate([(1_000, 1.0), (2_000, 2.0), (1_500, 3.0), (2_000, 4.0)]):
        rows.insert_features(store_client, [features(0, value, as_of_ms=as_of_ms)], str(at))
    assert feature_table(store_client, "1m", ["BTC/USD"], *ALWAYS)["rsi_14"].tolist() == [4.0]


def test_every_field_of_a_hole_comes_back(store_client: Client) -> None:
    times = {"after_ns": START_MS * 1_000_000 + 7, "found_at_ms": START_MS + 1, "at_ms": START_MS + 2}
    written = hole(7, "unrepairable", tries=5, source="kraken", **times)
    assert rows.insert_holes(store_client, [written], "a") == 1
    found = store_client.query(
        "SELECT pair, first_id, last_id, toUnixTimestamp64Nano(after), state, tries, "
        "toUnixTimestamp64Milli(found_at), toUnixTimestamp64Milli(at), source FROM holes"
    ).result_rows
    assert [Hole(*row) for row in found] == [written]


def test_what_became_of_a_hole_replaces_what_was_said_before_and_not_the_other_way_round(store_client: Client) -> None:
    opened, filled = hole(7), hole(7, "repaired", tries=2, at_ms=START_MS + 900)
    for token, record in (("a", opened), ("b", filled), ("c", opened)):  # the last one: said again after a crash
        rows.insert_holes(store_client, [record], token)
    assert store_client.query("SELECT state, tries FROM holes FINAL").result_rows == [("repaired", 2)]


def test_of_two_states_of_one_millisecond_the_later_one_in_the_log_counts(store_client: Client) -> None:
    rows.insert_holes(store_client, [hole(7), hole(7, "repaired")], "a")
    assert store_client.query("SELECT state FROM holes FINAL").result_rows == [("repaired",)]
