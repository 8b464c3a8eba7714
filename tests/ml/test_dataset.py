from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.dataset import CLIP, Samples, every_hth, prepare, samples, split
from ml.model import WARM_UP_BARS
from redpanda.errors import BadInputError
from tables.records import MINUTE_MS
from tests.support.feature_columns import clock_candles, feature_columns, stack


def columns(minutes: int = 600, seed: int = 1) -> dict[str, Any]:
    return feature_columns("BTC/USD", clock_candles(minutes, seed))


def without(table: dict[str, Any], keep: np.ndarray) -> dict[str, Any]:
    return {name: values[keep] for name, values in table.items()}


def test_target_is_looked_up_by_time_and_a_gap_has_no_label() -> None:
    full = columns()
    rows = samples(prepare(full), 300)
    gone = np.ones(600, dtype=bool)
    gone[400:402] = False
    kept = samples(prepare(without(full, gone)), 300)
    first = int(full["open_ms"][0])
    base = set(((kept.open_ms - first) // MINUTE_MS).tolist())
    assert {395, 396, 400, 401}.isdisjoint(base)
    assert {394, 397, 398, 399, 402} <= base
    by_time = dict(zip(rows.open_ms.tolist(), rows.ret.tolist(), strict=True))
    assert all(by_time[t] == r for t, r in zip(kept.open_ms.tolist(), kept.ret.tolist(), strict=True))
    assert by_time[first + 300 * MINUTE_MS] == np.log(full["close"][305] / full["close"][300])


def test_synthetic_and_cold_bars_are_neither_base_nor_target() -> None:
    table = columns()
    table["synthetic"][300] = True
    rows = samples(prepare(table), 60)
    minutes = ((rows.open_ms - table["open_ms"][0]) // MINUTE_MS).tolist()
    assert {299, 300}.isdisjoint(minutes)
    assert min(minutes) == WARM_UP_BARS - 1
    assert max(minutes) == 598, "the last bar has no future"


def test_labels_never_cross_pairs() -> None:
    one, two = columns(300, 1), feature_columns("ETH/USD", clock_candles(300, 2))
    both = samples(prepare(stack(two, one)), 900)
    alone = [samples(prepare(table), 900) for table in (one, two)]
    assert both.ret.tolist() == [*alone[0].ret.tolist(), *alone[1].ret.tolist()]
    assert both.pair.tolist() == [0] * len(alone[0]) + [1] * len(alone[1])


def test_the_future_changes_no_input_and_no_earlier_label() -> None:
    table, other = columns(), columns()
    for name in ("open", "high", "low", "close"):
        other[name][500:] *= 3.0
    before, after = samples(prepare(table), 300), samples(prepare(other), 300)
    past = before.open_ms < table["open_ms"][495]
    assert before.x[past].tobytes() == after.x[past].tobytes()
    assert before.ret[past].tolist() == after.ret[past].tolist()


def test_scaled_target_is_clipped_and_the_return_is_not() -> None:
    table = columns()
    for name in ("open", "high", "low", "close"):
        table[name][500:] *= 2.0
    rows = samples(prepare(table), 60)
    assert rows.y.max() == CLIP
    assert rows.ret.max() == pytest.approx(np.log(2), abs=0.05)


def test_quality_counts_what_is_wrong() -> None:
    table = columns()
    keep = np.ones(600, dtype=bool)
    keep[200:203] = False
    broken = stack(without(table, keep), without(table, np.arange(600) == 50))
    broken["low"][20] = broken["high"][20] * 2
    broken["synthetic"][30:35] = True
    quality = prepare(broken).quality
    assert (quality.duplicates, quality.gaps, quality.bad_prices, quality.synthetic) == (1, 3, 1, 5)
    assert quality.cold == WARM_UP_BARS - 1
    assert quality.rows == 598


def test_missing_column_is_named() -> None:
    table = columns(200)
    del table["rsi_14"]
    with pytest.raises(BadInputError, match=r"rsi_14.*store migrate"):
        prepare(table)


def test_an_empty_table_has_no_samples() -> None:
    empty = without(columns(200), np.zeros(200, dtype=bool))
    assert len(samples(prepare(empty), 60)) == 0


def fake(open_ms: np.ndarray) -> Samples:
    zeros = np.zeros(len(open_ms))
    x = np.zeros((len(open_ms), 1), np.float32)
    return Samples(np.zeros(len(open_ms), np.int32), open_ms, zeros, zeros, x, zeros, zeros)


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 3_000), min_size=50, max_size=400, unique=True),
    st.sampled_from([60, 300, 900]),
)
def test_blocks_are_in_order_and_no_label_reaches_the_next(minutes: list[int], horizon_s: int) -> None:
    blocks = split(fake(np.sort(np.array(minutes, dtype=np.int64)) * MINUTE_MS), horizon_s)
    parts = [blocks.train.open_ms, blocks.calibration.open_ms, blocks.test.open_ms]
    for before, after in ((parts[0], parts[1]), (parts[1], parts[2]), (parts[0], parts[2])):
        if len(before) and len(after):
            assert before.max() + MINUTE_MS + 2 * horizon_s * 1_000 <= after.min(), "purge and embargo"


@given(st.integers(0, 10_000), st.sampled_from([60, 300, 900]))
def test_training_labels_of_a_pair_do_not_overlap(first: int, horizon_s: int) -> None:
    rows = every_hth(fake((first + np.arange(200, dtype=np.int64)) * MINUTE_MS), horizon_s)
    assert np.all(np.diff(rows.open_ms) == horizon_s * 1_000)
    assert len(rows) >= 200 * 60 // horizon_s


def test_rows_without_a_single_label_split_into_empty_blocks() -> None:
    table = columns()
    table["synthetic"][:] = True
    blocks = split(samples(prepare(table), 60), 60)
    assert (len(blocks.train), len(blocks.calibration), len(blocks.test)) == (0, 0, 0)
