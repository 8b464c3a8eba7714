from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ml.inputs import INPUT_NAMES, INPUT_SET, RAW_COLUMNS, inputs, raw_matrix, raw_row
from tables.features.catalog import FEATURE_NAMES
from tables.records import Features
from tests.support.feature_columns import clock_candles, feature_columns
from tests.support.samples import features

IN_QUOTE = ("open", "high", "low", "close", "sma", "ema", "macd", "atr", "bb")


def record(row: np.ndarray) -> Features:
    values = dict(zip(RAW_COLUMNS, (None if np.isnan(v) else float(v) for v in row), strict=True))
    prices: dict[str, Any] = {name: values.pop(name) for name in ("open", "high", "low", "close")}
    open_ms = values.pop("open_ms")
    return features(values=values, open_ms=int(open_ms or 0), **prices)


def test_one_record_gives_the_same_bits_as_its_row_of_the_matrix() -> None:
    raw = raw_matrix(feature_columns("BTC/USD", clock_candles(600, seed=1)))
    whole = inputs(raw)
    single = np.concatenate([inputs(raw_row(record(row))) for row in raw])
    assert whole.tobytes() == single.tobytes()
    assert np.isnan(whole[:50]).any(), "the cold start was part of the comparison"


@given(
    hnp.arrays(
        np.float64,
        (3, len(RAW_COLUMNS)),
        elements=st.one_of(st.floats(-1e6, 1e6), st.just(np.nan), st.just(0.0)),
    )
)
def test_any_row_equals_the_matrix_and_never_warns(raw: np.ndarray) -> None:
    raw[:, :4] = np.abs(raw[:, :4]) + 1.0
    raw[np.isnan(raw[:, 3]), 3] = 1.0
    assert inputs(raw).tobytes() == np.concatenate([inputs(raw[i : i + 1]) for i in range(3)]).tobytes()


def test_inputs_do_not_know_the_price_level() -> None:
    raw = raw_matrix(feature_columns("BTC/USD", clock_candles(400, seed=2)))
    dearer = raw.copy()
    dearer[:, [name.split("_")[0] in IN_QUOTE and name != "open_ms" for name in RAW_COLUMNS]] *= 1024.0
    assert np.array_equal(inputs(raw), inputs(dearer), equal_nan=True)


def test_what_is_missing_stays_missing_and_nothing_else_is() -> None:
    raw = raw_matrix(feature_columns("BTC/USD", clock_candles(400, seed=3)))
    assert not np.isnan(inputs(raw[200:])).any()
    raw[300, RAW_COLUMNS.index("rsi_14")] = np.nan
    missing = np.isnan(inputs(raw)[300])
    assert [name for name, gone in zip(INPUT_NAMES, missing, strict=True) if gone] == ["rsi_14"]


def test_a_market_that_does_not_move_has_no_inputs_in_sigmas() -> None:
    raw = raw_matrix(feature_columns("BTC/USD", clock_candles(300, seed=4)))[-1:]
    raw[0, RAW_COLUMNS.index("ewma_vol_60")] = 0.0
    out = dict(zip(INPUT_NAMES, inputs(raw)[0], strict=True))
    assert np.isnan(out["sma_7_from_close"])
    assert np.isfinite(out["rsi_7"])


def test_clock_inputs_tell_the_minute_of_the_close() -> None:
    raw = raw_matrix(feature_columns("BTC/USD", clock_candles(200, seed=5)))[-1:]
    # Sunday, 13 May 2018, 23:59: it closes at midnight of a Monday.
    raw[0, RAW_COLUMNS.index("open_ms")] = 1_526_255_940_000
    out = dict(zip(INPUT_NAMES, inputs(raw)[0].tolist(), strict=True))
    assert [out[name] for name in ("minute_of_quarter", "minute_of_hour", "minute_of_day")] == [0, 0, 0]
    raw[0, -1] += 17 * 60_000
    later = dict(zip(INPUT_NAMES, inputs(raw)[0].tolist(), strict=True))
    assert [later[name] for name in ("minute_of_quarter", "minute_of_hour", "minute_of_day")] == [2, 17, 17]
    assert later["day_of_week"] == out["day_of_week"]


def test_names_are_unique_and_every_feature_is_used() -> None:
    assert len(set(INPUT_NAMES)) == len(INPUT_NAMES)
    assert len(INPUT_SET) == 12
    unused = [
        name for name in FEATURE_NAMES if not any(name in known for known in INPUT_NAMES) and "_rate_" not in name
    ]
    assert unused == ["ewma_vol_60"], "the unit itself"
