"""Nothing reads the future, and what does is named."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ml import dataset
from ml.candle_file import Columns
from ml.checks.lookahead import Labels, feature_leaks, label_leaks, prove, split_leaks, table_of
from ml.inputs import INPUT_NAMES, inputs
from redpanda.errors import BadInputError
from tables.features.catalog import CATALOG, Catalog
from tables.features.indicators.ema import Ema
from tables.records import MINUTE_MS
from tests.support.checked import Peeking, Shared, history, quiet

HORIZON_S = 300


@pytest.fixture(scope="module")
def columns() -> Columns:
    return history(2_000)


@pytest.fixture(scope="module")
def table(columns: Columns) -> Columns:
    return table_of(columns)


@pytest.fixture(scope="module")
def rows(table: Columns) -> dataset.Samples:
    return dataset.samples(dataset.prepare(table), HORIZON_S)


def test_no_feature_input_label_or_split_reads_the_future(columns: Columns) -> None:
    found = prove(columns, (60, 900), quiet, cuts=3)
    assert found.leaks == []
    assert found.cuts == 3
    assert min(found.labels.values()) > 40
    assert all(count > 100 for blocks in found.splits.values() for count in blocks.values())


def test_indicator_that_knows_the_next_bar_is_named_with_its_row(columns: Columns) -> None:
    leaks = feature_leaks(columns, quiet, Catalog([*CATALOG.indicators, Peeking]), cuts=2)
    assert {(one.kind, one.name, one.where) for one in leaks} == {("feature", "peeking", "bulk")}
    assert {one.told for one in leaks} == {
        "changes when the history ends 0 rows after it",
        "changes when the history goes on otherwise 0 rows after it",
    }
    assert all(one.row_ms in columns["open_ms"] for one in leaks)


def test_live_value_that_changes_with_other_folds_is_named(columns: Columns) -> None:
    Shared.highest = 0.0
    leaks = feature_leaks(columns, quiet, Catalog([Ema, Shared]), cuts=2)
    assert {(one.name, one.where) for one in leaks} == {("shared", "live")}


def test_input_scaled_by_the_whole_history_is_named(columns: Columns) -> None:
    def scaled(
        raw: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        out = inputs(raw)
        out[:, 3] -= np.nanmean(out[:, 3])
        return out

    leaks = feature_leaks(columns, quiet, cuts=1, model_inputs=scaled)
    assert {(one.kind, one.name) for one in leaks} == {("input", INPUT_NAMES[3])}
    assert {one.where for one in leaks} == {"live", "bulk"}


def test_labels_are_of_their_target_alone(table: Columns) -> None:
    looked_at, leaks = label_leaks(table, HORIZON_S)
    assert looked_at > 100
    assert leaks == []


def _a_minute_late(table: dataset.Table, horizon_s: int) -> dataset.Samples:
    return dataset.samples(table, horizon_s + 60)


def _a_little_more(table: dataset.Table, horizon_s: int) -> dataset.Samples:
    found = dataset.samples(table, horizon_s)
    found.ret[:] += 1e-7
    return found


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (_a_minute_late, "changes with a candle that is not its target"),
        (_a_little_more, "is not the log return to the candle that ends at its target"),
    ],
)
def test_label_of_another_candle_is_named(label: Labels, told: str, table: Columns) -> None:
    _, leaks = label_leaks(table, HORIZON_S, label)
    assert told in {one.told for one in leaks}
    assert {one.name for one in leaks} == {"label 5 min"}


def test_split_of_the_trainer_is_purged_and_embargoed(rows: dataset.Samples) -> None:
    assert split_leaks(dataset.split(rows, HORIZON_S), HORIZON_S) == []


@pytest.mark.parametrize(
    ("apart", "told"),
    [
        (0, "its target reaches into the calibration block"),
        (5, "its target reaches into the calibration block"),
        (6, "its target ends less than a horizon before the calibration block"),
        (10, "its target ends less than a horizon before the calibration block"),
        (11, ""),
    ],
)
def test_block_that_begins_too_soon_is_named(apart: int, told: str, rows: dataset.Samples) -> None:
    order = np.arange(len(rows))
    blocks = dataset.Split(
        train=rows.take(order[:600]), calibration=rows.take(order[599 + apart : 900]), test=rows.take(order[1_000:])
    )
    leaks = split_leaks(blocks, HORIZON_S)
    assert [one.told for one in leaks if one.where == "train"] == ([told] if told else [])
    if told:
        first = rows.open_ms[599 + apart] - (6 if apart < 6 else 11) * MINUTE_MS
        assert leaks[0].row_ms == max(first + MINUTE_MS, rows.open_ms[0])


def test_history_that_is_too_short_says_so() -> None:
    with pytest.raises(BadInputError, match="too few to check"):
        feature_leaks({name: column[:1] for name, column in history(60).items()}, quiet)


def test_candle_that_no_worker_takes_is_told(columns: Columns) -> None:
    bad = {**columns, "close": np.where(np.arange(2_000) == 700, np.inf, columns["close"])}
    with pytest.raises(BadInputError, match=r"price-out-of-range.*check data"):
        feature_leaks(bad, quiet, cuts=1)


def test_leak_is_plain_data(columns: Columns) -> None:
    (first, *_) = feature_leaks(columns, quiet, Catalog([Peeking]), cuts=1)
    assert msgspec.to_builtins(first)["name"] == "peeking"
