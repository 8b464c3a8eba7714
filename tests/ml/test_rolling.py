from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.baseline import GAUSSIAN
from ml.model import LEVELS
from ml.rolling import START, Rolling, below, correct, learn, walk
from tables.records import MINUTE_MS

SHARES = st.lists(st.sampled_from([(True,) * 5, (False,) * 5, (False, False, True, True, True)]), max_size=200)


def shares_below(y: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    shares: np.ndarray = (y[:, None] < quantiles).mean(axis=0)
    return shares


@given(SHARES)
def test_offsets_are_bounded_and_the_median_never_moves(outcomes: list[tuple[bool, ...]]) -> None:
    state = START
    for under in outcomes:
        state = learn(state, under)
    assert state.scored == len(outcomes)
    assert state.offsets[2] == 0.0
    assert all(abs(offset) <= 4.0 for offset in state.offsets)


@given(st.lists(st.floats(-5, 5), min_size=5, max_size=5), SHARES)
def test_corrected_quantiles_are_sorted(scaled: list[float], outcomes: list[tuple[bool, ...]]) -> None:
    state = START
    for under in outcomes:
        state = learn(state, under)
    assert (np.diff(correct(sorted(scaled), state)) >= 0).all()


def test_an_outcome_below_lowers_and_one_above_raises_by_the_level() -> None:
    lower, higher = learn(START, (True,) * 5), learn(START, (False,) * 5)
    for level, down, up in zip(LEVELS, lower.offsets, higher.offsets, strict=True):
        if level != 0.5:
            assert down < 0 < up
            assert up / -down == pytest.approx(level / (1 - level))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
def test_whatever_the_spread_was_the_shares_come_to_their_levels(factor: float) -> None:
    rng = np.random.default_rng(3)
    y = factor * rng.standard_normal(60_000)
    scaled = np.repeat(np.array([GAUSSIAN]), len(y), axis=0)
    open_ms = np.arange(len(y), dtype=np.int64) * MINUTE_MS
    out = walk(scaled, y, np.zeros(len(y), dtype=np.int32), open_ms, 60)
    settled = slice(40_000, None)
    plain = np.abs(shares_below(y[settled], scaled[settled]) - LEVELS).max()
    rolled = np.abs(shares_below(y[settled], out[settled]) - LEVELS).max()
    print(f"factor {factor}: off by {plain:.3f} without, {rolled:.3f} with the correction")
    assert rolled < 0.01
    assert factor == 1.0 or plain > 0.03


def test_a_walk_learns_only_what_was_known_before_the_forecast() -> None:
    rng = np.random.default_rng(4)
    count, horizon_s = 400, 300
    y = rng.standard_normal(count)
    scaled = np.repeat(np.array([GAUSSIAN]), count, axis=0)
    open_ms = np.arange(count, dtype=np.int64) * MINUTE_MS
    pair = np.zeros(count, dtype=np.int32)
    before = walk(scaled, y, pair, open_ms, horizon_s)
    changed = y.copy()
    changed[200] = -changed[200] * 50 - 50 * np.sign(changed[200])
    after = walk(scaled, changed, pair, open_ms, horizon_s)
    first = int(np.flatnonzero((before != after).any(axis=1))[0])
    # The forecast of minute 200 ends with minute 205; the one of minute 206 is the first that may know it.
    assert first == 206


def test_pairs_do_not_learn_from_each_other() -> None:
    rng = np.random.default_rng(5)
    y = rng.standard_normal(600)
    scaled = np.repeat(np.array([GAUSSIAN]), 600, axis=0)
    open_ms = np.tile(np.arange(300, dtype=np.int64) * MINUTE_MS, 2)
    pair = np.repeat(np.array([0, 1], dtype=np.int32), 300)
    both = walk(scaled, y, pair, open_ms, 60)
    alone = walk(scaled[300:], y[300:], pair[300:], open_ms[300:], 60)
    assert (both[300:] == alone).all()


def test_below_is_strict() -> None:
    assert below(1.0, (0.5, 1.0, 1.5, 2.0, 2.5)) == (False, False, True, True, True)
    assert Rolling().offsets == (0.0,) * 5
