from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml.baseline import GAUSSIAN, BaselineModel
from ml.conformal import apply_offsets, conformal_offsets, median_weight
from ml.inputs import INPUT_NAMES, RAW_COLUMNS
from ml.model import LEVELS, Origin, probability_up
from redpanda.errors import BadInputError
from tests.ml.test_inputs import record

if TYPE_CHECKING:
    from tables.records import Features


def features(sigma: float | None = 1e-3, close: float = 100.0) -> Features:
    row = np.full(len(RAW_COLUMNS), np.nan)
    row[:4] = close
    made = record(row)
    made.values["ewma_vol_60"] = sigma
    return made


def test_first_champion_spreads_the_last_price_by_the_volatility() -> None:
    forecast = BaselineModel(Origin(300)).quantiles(features())
    assert forecast is not None
    assert forecast.q50 == 100.0
    assert forecast.p_up == pytest.approx(0.5)
    assert forecast.q95 == pytest.approx(100 * math.exp(1.6448536 * 1e-3 * math.sqrt(5)), rel=1e-9)
    assert forecast.q05 < forecast.q25 < forecast.q50 < forecast.q75 < forecast.q95


@pytest.mark.parametrize("sigma", [None, 0.0, math.nan, -1.0])
def test_without_a_volatility_there_is_no_forecast(sigma: float | None) -> None:
    assert BaselineModel(Origin(60)).quantiles(features(sigma)) is None


def test_features_of_another_set_are_refused() -> None:
    with pytest.raises(BadInputError, match="feature"):
        BaselineModel(Origin(60, feature_set="0123456789ab")).quantiles(features())


@given(st.floats(1e-6, 0.05), st.floats(1e-8, 1e7), st.sampled_from([60, 300, 900]))
def test_quantiles_are_sorted_positive_prices(sigma: float, close: float, horizon_s: int) -> None:
    forecast = BaselineModel(Origin(horizon_s)).quantiles(features(sigma, close))
    assert forecast is not None
    prices = [forecast.q05, forecast.q25, forecast.q50, forecast.q75, forecast.q95]
    assert prices == sorted(prices)
    assert prices[0] > 0


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=5))
@example([-1.0, -1.0, 0.0, 5e-324, 1.0])
@example([-1.0, -1.0, -5e-324, 5e-324, 1.0])
def test_probability_up_stays_within_what_five_quantiles_tell(values: list[float]) -> None:
    assert 0.049 <= probability_up(sorted(values)) <= 0.951


def test_probability_up_follows_the_quantiles() -> None:
    shifted = [value + 0.6744897501960817 for value in GAUSSIAN]
    assert probability_up(shifted) == pytest.approx(0.75)
    assert probability_up([value - 9.0 for value in GAUSSIAN]) == pytest.approx(0.05)


@given(st.lists(st.integers(-5_000, 5_000), min_size=5, max_size=5))
def test_probability_up_is_what_numpy_interpolates(thousandths: list[int]) -> None:
    values = [value / 1_000 for value in sorted(thousandths)]
    assert probability_up(values) == pytest.approx(1.0 - np.interp(0.0, values, LEVELS), abs=1e-12)


def test_trained_baseline_takes_the_tails_as_they_were_and_keeps_the_last_price() -> None:
    y = np.random.default_rng(0).standard_t(4, 20_000) + 0.1
    model = BaselineModel.fit(Origin(60), y)
    assert model.constant[2] == 0.0
    share = float(((y >= model.constant[0]) & (y <= model.constant[4])).mean())
    assert share == pytest.approx(0.9, abs=1e-3)
    assert model.scaled(np.zeros((3, len(INPUT_NAMES)), np.float32)).shape == (3, 5)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_conformal_offsets_mend_intervals_of_the_wrong_width(factor: float) -> None:
    rng = np.random.default_rng(1)
    scaled = np.repeat(np.array([GAUSSIAN]) * factor, 4_000, axis=0)
    offsets = conformal_offsets(scaled, rng.standard_normal(4_000))
    mended, fresh = apply_offsets(scaled, offsets), rng.standard_normal(4_000)
    for low, high, wanted in ((0, 4, 0.9), (1, 3, 0.5)):
        share = float(((fresh >= mended[:, low]) & (fresh <= mended[:, high])).mean())
        assert share == pytest.approx(wanted, abs=0.025)


def test_a_median_of_noise_is_not_believed_and_a_true_one_is() -> None:
    rng = np.random.default_rng(2)
    signal = rng.standard_normal(5_000)
    assert median_weight(signal, rng.standard_normal(5_000)) == 0.0
    assert median_weight(signal, signal + 0.1 * rng.standard_normal(5_000)) == 1.0
