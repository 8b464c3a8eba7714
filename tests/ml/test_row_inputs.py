from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ml.inputs import RAW_COLUMNS, inputs, raw_matrix, raw_row
from ml.row_inputs import row_inputs
from tests.ml.test_inputs import record
from tests.support.feature_columns import clock_candles, feature_columns

POSITIVE = ("ewma_vol_60", "bb_upper_20", "trade_rate_60", "open", "high", "low", "close")
PLACES = [RAW_COLUMNS.index(name) for name in POSITIVE]


def test_a_record_gives_the_bits_of_the_matrix_cold_and_warm() -> None:
    for row in raw_matrix(feature_columns("BTC/USD", clock_candles(600, seed=1))):
        one = record(row)
        assert row_inputs(one).tobytes() == inputs(raw_row(one)).tobytes()


@given(
    hnp.arrays(np.float64, len(RAW_COLUMNS), elements=st.floats(-1e6, 1e6)),
    st.sampled_from(("", *RAW_COLUMNS[4:-1])),
    st.integers(0, 1 << 41),
)
def test_any_values_give_the_bits_of_the_matrix(raw: np.ndarray, gone: str, open_ms: int) -> None:
    raw[PLACES] = np.abs(raw[PLACES]) + 1e-6
    raw[-1] = open_ms
    if gone:
        raw[RAW_COLUMNS.index(gone)] = np.nan
    one = record(raw)
    assert row_inputs(one).tobytes() == inputs(raw_row(one)).tobytes()


def test_what_has_no_unit_is_as_missing_as_in_the_matrix() -> None:
    warm = raw_matrix(feature_columns("BTC/USD", clock_candles(400, seed=2)))[-1]
    for name, value in (("ewma_vol_60", 0.0), ("bb_upper_20", 0.0), ("trade_rate_60", 0.0), ("trade_rate_1", 0.0)):
        row = warm.copy()
        row[RAW_COLUMNS.index(name)] = value
        one = record(row)
        assert row_inputs(one).tobytes() == inputs(raw_row(one)).tobytes()


def test_a_record_that_lacks_a_feature_takes_it_as_missing() -> None:
    one = record(raw_matrix(feature_columns("BTC/USD", clock_candles(400, seed=3)))[-1])
    del one.values["rsi_14"]
    assert row_inputs(one).tobytes() == inputs(raw_row(one)).tobytes()
