"""Two sets of features, counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.features import FEATURE_NAMES
from tables.records import MINUTE_MS
from tables.serving.parity import TOLERANCE, Rows, compare, recompute, ulps, values_of
from tests.support.served import history

WIDTH = len(FEATURE_NAMES)


def rows(*values: float) -> Rows:
    return {at: (value, *[1.0] * (WIDTH - 1)) for at, value in enumerate(values)}


def test_each_value_is_counted_once() -> None:
    up = math.nextafter(2.0, 3.0)
    one, other = rows(2.0, math.nan, 2.0, 0.0, 1.0), rows(2.0, math.nan, up, -0.0, math.nan)
    first, second, *_ = compare(one, other, tolerance=0.0)
    assert (first.equal, first.close, first.different, first.missing, first.max_ulps) == (3, 0, 2, 0, 1)
    assert (second.equal, second.different) == (5, 0)
    first = compare(one, other, tolerance=TOLERANCE)[0]
    assert (first.equal, first.close, first.different) == (3, 1, 1)


def test_bar_that_one_side_lacks_is_missing() -> None:
    one, other = rows(1.0, 2.0), {0: rows(1.0)[0], 7: rows(1.0)[0]}
    assert {(tally.equal, tally.missing) for tally in compare(one, other, tolerance=0.0)} == {(1, 2)}
    assert {(tally.equal, tally.missing) for tally in compare(one, {}, tolerance=0.0)} == {(0, 2)}


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 50), st.sampled_from([math.inf, -math.inf]))
def test_distance_in_ulps_counts_representable_numbers(start: float, steps: int, towards: float) -> None:
    end = start
    for _ in range(steps):
        end = math.nextafter(end, towards)
    if math.isfinite(end):
        assert ulps(np.array([start]), np.array([end])) == [steps]


def test_recompute_says_what_the_live_fold_said_of_corrected_candles() -> None:
    candles, said = history("BTC/USD", 300)
    held = [candle for candle in candles if candle.revision or candle.open_ms != candles[-1].open_ms]
    held.sort(key=lambda candle: candle.open_ms)
    newest = {row.open_ms: row for row in said}
    computed, note = recompute(held, said[-1], MINUTE_MS)
    assert note == ""
    online = {open_ms: values_of(row) for open_ms, row in newest.items()}
    tallies = {tally.name: tally for tally in compare(online, computed, tolerance=TOLERANCE)}
    assert not any(tally.different or tally.missing for tally in tallies.values())
    exact = [name for name in FEATURE_NAMES if name.split("_")[0] in {"ema", "rsi", "adx", "macd", "atr"}]
    assert {tallies[name].close for name in exact} == {0}
    assert {tallies[name].equal for name in exact} == {300}


@pytest.mark.parametrize("lost", [slice(1, None), slice(0, -1)])
def test_history_that_is_not_whole_is_told_and_not_guessed(lost: slice) -> None:
    candles, said = history("BTC/USD", 80)
    computed, note = recompute(candles[:80][lost], said[-1], MINUTE_MS)
    assert computed == {}
    assert "the store holds 79 of the 80 candles" in note
