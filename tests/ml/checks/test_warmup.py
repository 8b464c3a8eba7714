"""Restarts change no bit, and cold starts are measured."""

from __future__ import annotations

import numpy as np
import pytest

from ml.candle_file import Columns
from ml.checks.history import Matrix
from ml.checks.warmup import AFTER, ColdStart, cold_starts, fold_whole, restarts
from redpanda.errors import BadInputError
from tables.features.catalog import CATALOG, Catalog
from tables.features.fold import PairFeatures
from tables.features.indicators.ema import Ema
from tables.features.indicators.sma import Sma
from tests.support.checked import Forgetful, history, quiet


@pytest.fixture(scope="module")
def columns() -> Columns:
    return history(3_300)


@pytest.fixture(scope="module")
def whole(columns: Columns) -> Matrix:
    return fold_whole(columns, quiet)


@pytest.fixture(scope="module")
def cold(columns: Columns, whole: Matrix) -> dict[str, ColdStart]:
    return {one.name: one for one in cold_starts(columns, whole, quiet, starts=3)}


def test_restarts_at_any_place_change_no_bit(columns: Columns, whole: Matrix) -> None:
    found = restarts(columns, whole, quiet, stops=100)
    assert found.different == []
    assert found.stops >= 100
    assert 1_000 < found.state_bytes < 4_096


def test_indicator_that_forgets_at_a_restart_is_named(columns: Columns) -> None:
    catalog = Catalog([Ema, Forgetful])
    found = restarts(columns, fold_whole(columns, quiet, catalog), quiet, catalog, stops=5)
    (bad,) = found.different
    assert bad.name == "forgetful"
    assert bad.stopped_ms < bad.row_ms
    assert bad.rows > 0
    assert 0 < bad.largest < 1


def test_smallest_change_of_a_state_is_seen(columns: Columns) -> None:
    catalog = Catalog([Sma, Ema])

    def inexact(fold: PairFeatures, _: Catalog) -> PairFeatures:
        for one in fold._chain._stateful:
            one.state = tuple(np.nextafter(value, np.inf) for value in one.state)
        return fold

    found = restarts(columns, fold_whole(columns, quiet, catalog), quiet, catalog, 5, inexact)
    assert {one.name for one in found.different} >= {"ema_60"}
    assert all(one.name.startswith("ema") for one in found.different)
    assert max(one.largest for one in found.different) < 1e-14


def test_windows_forget_and_recurrences_fade(cold: dict[str, ColdStart]) -> None:
    assert tuple(cold) == CATALOG.names
    for name in ("sma_60", "rv_60", "obv_change_60", "bb_upper_20"):
        assert cold[name].at_warm_up == 0, name
        assert cold[name].equal_after == cold[name].warm_up, name
    for name in ("ema_60", "rsi_14", "adx_14", "macd_21", "atr_14"):
        one = cold[name]
        assert one.at_warm_up > 1e-6, name
        assert one.at_warm_up >= one.after[0] >= one.after[1] >= one.after[2], name
        assert one.equal_after is not None
        assert one.warm_up < one.equal_after < AFTER[-1], name


def test_volatility_of_weeks_never_comes_near(cold: dict[str, ColdStart]) -> None:
    assert cold["long_vol_28800"].equal_after is None
    assert cold["long_vol_28800"].after[-1] > 1e-3


def test_history_too_short_for_cold_starts_says_what_it_needs(columns: Columns, whole: Matrix) -> None:
    short = {name: column[:500] for name, column in columns.items()}
    with pytest.raises(BadInputError, match="500 candles are too few for cold starts: needed are 3,202"):
        cold_starts(short, whole[:500], quiet)
