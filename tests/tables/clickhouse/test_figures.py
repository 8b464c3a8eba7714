from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tables.clickhouse import figures, rows
from tables.clickhouse.figures import Accuracy, PairQuality
from tests.api.seeded import error
from tests.support.samples import START_MS, candle, hole, late_trade

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

PAIR = "BTC/USD"
DAY_MS = 86_400_000
ALL = (START_MS, START_MS + DAY_MS)


def test_accuracy_counts_what_became_due_in_the_window(store_client: Client) -> None:
    inside = (False, False, False, True, True)
    outside = (True, True, True, True, True)
    rows.insert_errors(
        store_client,
        [
            error(0, PAIR, return_bps=20.0, error_bps=10.0, pinball_bps=1.0, baseline_pinball_bps=2.0, below=inside),
            error(1, PAIR, return_bps=-20.0, error_bps=-30.0, pinball_bps=2.0, baseline_pinball_bps=2.0, below=outside),
            error(2, PAIR, return_bps=0.0, error_bps=-5.0, pinball_bps=3.0, baseline_pinball_bps=4.0, below=outside),
            error(3, PAIR, synthetic=True, pinball_bps=99.0),
            error(4, PAIR, pinball_bps=99.0),
        ],
        "a",
    )
    end_ms = START_MS + 4 * 60_000 + 120_000  # when the last is due: not in a half-open window
    (found,) = figures.accuracy(store_client, START_MS, end_ms)
    assert found == Accuracy(
        pair=PAIR,
        horizon_s=60,
        model="ewma",
        model_version="1",
        scored=3,
        pinball_bps=2.0,
        baseline_pinball_bps=8 / 3,
        skill=0.25,
        coverage50=1 / 3,
        coverage90=1 / 3,
        mae_bps=15.0,
        direction=0.5,
        first_target_ms=START_MS + 120_000,
        last_target_ms=START_MS + 240_000,
    )


def test_accuracy_of_each_pair_horizon_and_version_and_of_what_is_asked_for(store_client: Client) -> None:
    wanted = [
        error(0, PAIR),
        error(0, PAIR, 300),
        error(0, "ETH/USD"),
        error(0, PAIR, model="catboost"),
        error(0, PAIR, model="catboost", model_version="2"),
    ]
    rows.insert_errors(store_client, wanted, "a")
    assert len(figures.accuracy(store_client, *ALL)) == 5
    assert len(figures.accuracy(store_client, *ALL, pair=PAIR)) == 4
    assert len(figures.accuracy(store_client, *ALL, pair=PAIR, horizon_s=60)) == 3
    assert [row.model_version for row in figures.accuracy(store_client, *ALL, model="catboost")] == ["1", "2"]


def test_a_forecast_of_the_longest_horizon_is_in_the_window_of_its_target(store_client: Client) -> None:
    far = error(0, PAIR, 604_800)
    rows.insert_errors(store_client, [far], "a")
    assert len(figures.accuracy(store_client, far.target_ms, far.target_ms + 1)) == 1


def test_a_median_at_the_base_price_has_no_direction(store_client: Client) -> None:
    noise = 1e-13  # two logarithms of the same ratio, taken on two ways
    rows.insert_errors(store_client, [error(0, PAIR, return_bps=20.0, error_bps=20.0 - noise)], "a")
    rows.insert_errors(store_client, [error(0, "ETH/USD", return_bps=0.0, baseline_pinball_bps=0.0)], "b")
    found = {row.pair: row for row in figures.accuracy(store_client, *ALL)}
    assert found[PAIR].direction is None
    assert (found["ETH/USD"].direction, found["ETH/USD"].skill) == (None, None)


def test_quality_counts_candles_and_holes_of_the_window(store_client: Client) -> None:
    made = [candle(index, synthetic=index == 1, revision=int(index == 2)) for index in range(10)]
    rows.insert_candles(store_client, [*made, candle(0, timeframe="5m"), candle(0, "ETH/USD")], "a")
    found = [hole(100), hole(200, "repaired"), hole(300, "unrepairable", last_id=302)]
    late = [hole(400, found_at_ms=START_MS + DAY_MS), hole(1, pair="SOL/USD", last_id=1)]
    rows.insert_holes(store_client, [*found, *late], "a")
    too_late = [late_trade(1), late_trade(2), late_trade(3, pair="XRP/USD")]
    rows.insert_late_trades(store_client, [*too_late, too_late[0]], "a")
    now_ms = START_MS + 10 * 60_000 + 1_500
    btc, eth, sol, xrp = figures.quality(store_client, None, START_MS, START_MS + 8 * 60_000, now_ms)
    assert btc == PairQuality(
        pair=PAIR,
        last_candle_open_ms=START_MS + 9 * 60_000,
        candle_lag_ms=1_500,
        candles=8,
        synthetic=1,
        revised=1,
        late_trades=2,
        holes_open=1,
        holes_repaired=1,
        holes_unrepairable=1,
        ids_missing=13,
    )
    assert (eth.pair, eth.candles, eth.holes_open, eth.late_trades) == ("ETH/USD", 1, 0, 0)
    assert (xrp.pair, xrp.candles, xrp.late_trades) == ("XRP/USD", 0, 1)
    assert (sol.pair, sol.last_candle_open_ms, sol.candle_lag_ms, sol.ids_missing) == ("SOL/USD", None, None, 1)
    assert figures.quality(store_client, "ETH/USD", START_MS, START_MS + 8 * 60_000, now_ms) == [eth]


def test_quality_of_a_repaired_hole_counts_its_last_state_once(store_client: Client) -> None:
    rows.insert_holes(store_client, [hole(100)], "a")
    rows.insert_holes(store_client, [hole(100, "repaired", at_ms=START_MS + 1)], "b")
    (found,) = figures.quality(store_client, None, *ALL, START_MS)
    assert (found.holes_open, found.holes_repaired, found.ids_missing) == (0, 1, 0)
