from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.baseline import GAUSSIAN
from ml.evaluate import diebold_mariano, folds, measure, pinball, skill
from tables.records import MINUTE_MS


def minutes(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * MINUTE_MS


def test_pinball_of_known_numbers() -> None:
    quantiles = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])
    expected = (0.05 * 3 + 0.25 * 2 + 0.5 * 1 + 0.75 * 0 + 0.05 * 1) / 5 * 1e4
    assert pinball(np.array([1.0]), quantiles)[0] == pytest.approx(expected)


def test_measure_of_a_true_distribution() -> None:
    ret = np.random.default_rng(0).standard_normal(40_000)
    got = measure(ret, np.repeat(np.array([GAUSSIAN]), len(ret), axis=0))
    assert got.coverage90 == pytest.approx(0.9, abs=0.01)
    assert got.coverage50 == pytest.approx(0.5, abs=0.01)
    assert got.width90_bps == pytest.approx(2 * 1.6448536e4, rel=1e-6)
    assert got.rmse_bps == pytest.approx(1e4, rel=0.02)
    assert got.direction == 0.5, "the median says nothing"


def test_direction_leaves_out_what_did_not_move() -> None:
    quantiles = np.array([[-1.0, -0.5, median, 0.5, 1.0] for median in (0.1, 0.1, -0.1, 0.1)])
    assert measure(np.array([0.2, 0.0, -0.3, -0.4]), quantiles).direction == pytest.approx(2 / 3)


def test_diebold_mariano_equals_the_textbook_formula() -> None:
    rng = np.random.default_rng(3)
    loss, reference = rng.random(500), rng.random(500) + 0.05
    d = loss - reference
    n, h = len(d), 5
    centred = d - d.mean()
    gamma = [float(centred[k:] @ centred[: n - k]) / n for k in range(h)]
    variance = gamma[0] + 2 * sum((1 - k / h) * gamma[k] for k in range(1, h))
    expected = d.mean() / math.sqrt(variance / n)
    assert diebold_mariano(loss, reference, minutes(500), 300) == pytest.approx(expected)


@given(st.integers(2, 5))
def test_pairs_that_move_together_add_no_evidence(copies: int) -> None:
    rng = np.random.default_rng(4)
    loss, reference = rng.random(300), rng.random(300) + 0.02
    one = diebold_mariano(loss, reference, minutes(300), 300)
    many = diebold_mariano(np.tile(loss, copies), np.tile(reference, copies), np.tile(minutes(300), copies), 300)
    assert many == pytest.approx(one)


def test_a_gap_is_not_taken_for_neighbouring_minutes() -> None:
    rng = np.random.default_rng(5)
    loss, reference = rng.random(200), rng.random(200)
    near = diebold_mariano(loss, reference, minutes(200), 300)
    apart = diebold_mariano(loss, reference, minutes(200) * 10, 300)
    plain = diebold_mariano(loss, reference, minutes(200), 60)
    assert apart == pytest.approx(plain)
    assert near != pytest.approx(plain)


def test_equal_losses_are_no_difference_and_one_row_cannot_be_told() -> None:
    same = np.ones(10)
    assert diebold_mariano(same, same, minutes(10), 300) == 0.0
    assert math.isnan(diebold_mariano(np.ones(1), np.zeros(1), minutes(1), 300))
    assert math.isnan(diebold_mariano(same, same * 2, minutes(10), 300)), "no spread, no test"


def test_skill_is_the_share_of_loss_saved() -> None:
    assert skill(np.array([1.0, 2.0]), np.array([2.0, 2.0])) == pytest.approx(0.25)


@given(st.integers(10, 5_000), st.sampled_from([60, 300, 900]))
def test_folds_hold_every_row_once_in_time_order(count: int, horizon_s: int) -> None:
    open_ms = np.tile(minutes(count), 2)
    parts = folds(open_ms, horizon_s)
    assert sorted(np.concatenate(parts).tolist()) == list(range(2 * count))
    assert 3 <= len(parts) <= 9
    for before, after in itertools.pairwise(parts):
        assert open_ms[before].max() < open_ms[after].min()
