from __future__ import annotations

import io
import json

import numpy as np
import pytest
from catboost import CatBoostRegressor, Pool
from hypothesis import given
from hypothesis import strategies as st

from ml.catboost_model import LOSS, to_trees
from ml.inputs import INPUT_NAMES
from ml.model import Origin
from ml.trees import Evaluator, Trees, TreesModel
from redpanda.errors import BadInputError

WIDTH = len(INPUT_NAMES)


def data(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    y = rng.normal(size=rows) * (1 + np.abs(x[:, 0])) + 0.3 * x[:, 1]
    x[rng.random(x.shape) < 0.05] = np.nan
    x[:, 5] = np.nan_to_num(x[:, 5])  # one input without NaN in training
    return x, y


@pytest.fixture(scope="module")
def catboost_model() -> CatBoostRegressor:
    model = CatBoostRegressor(
        loss_function=LOSS, iterations=40, depth=5, thread_count=1, verbose=False, allow_writing_files=False
    )
    return model.fit(Pool(*data(1_500)))


def test_numpy_equals_catboost_with_nan_in_every_input(catboost_model: CatBoostRegressor) -> None:
    x, _ = data(800, seed=1)
    x[:20] = np.nan
    x[20:40, 5] = np.nan
    got = Evaluator(to_trees(catboost_model)).matrix(x)
    assert np.abs(got - catboost_model.predict(x)).max() <= 1e-12


def test_borders_themselves_go_the_same_way(catboost_model: CatBoostRegressor) -> None:
    trees = to_trees(catboost_model)
    x = np.zeros((200, WIDTH), np.float32)
    finite = np.isfinite(trees.border)
    for row, (feature, border) in enumerate(zip(trees.feature[finite][:200], trees.border[finite][:200], strict=True)):
        x[row, feature] = border
    got = Evaluator(trees).matrix(x)
    assert np.abs(got - catboost_model.predict(x)).max() <= 1e-12


def test_one_row_gives_the_same_bits_as_the_matrix(catboost_model: CatBoostRegressor) -> None:
    evaluator = Evaluator(to_trees(catboost_model))
    x, _ = data(300, seed=2)
    assert evaluator.matrix(x).tobytes() == np.array([evaluator.row(row) for row in x]).tobytes()


def test_artefact_round_trip_keeps_every_bit(catboost_model: CatBoostRegressor) -> None:
    trees = to_trees(catboost_model)
    again = Trees.from_npz(trees.to_npz())
    x, _ = data(100, seed=3)
    assert Evaluator(trees).matrix(x).tobytes() == Evaluator(again).matrix(x).tobytes()


def test_nan_mode_max_is_refused() -> None:
    model = CatBoostRegressor(
        iterations=3, depth=2, nan_mode="Max", thread_count=1, verbose=False, allow_writing_files=False
    )
    model.fit(Pool(*data(300)))
    with pytest.raises(BadInputError, match="nan_mode=Min"):
        to_trees(model)


def test_other_trees_than_symmetric_are_refused() -> None:
    model = CatBoostRegressor(
        iterations=3, grow_policy="Depthwise", thread_count=1, verbose=False, allow_writing_files=False
    )
    model.fit(Pool(*data(300)))
    with pytest.raises(BadInputError, match="symmetric"):
        to_trees(model)


def test_categorical_features_are_refused() -> None:
    text = json.dumps({"features_info": {"categorical_features": [{}]}, "oblivious_trees": []})
    with pytest.raises(BadInputError, match="float features"):
        Trees.from_catboost_json(text)


@given(st.binary(max_size=200))
def test_rotten_bytes_are_refused_as_bad_input(rotten: bytes) -> None:
    with pytest.raises(BadInputError, match=r"trees\.npz"):
        Trees.from_npz(rotten)


@given(st.data())
def test_cut_artefact_is_refused(data: st.DataObject) -> None:
    whole = small_forest().to_npz()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadInputError):
        Trees.from_npz(whole[:cut])


def small_forest() -> Trees:
    return Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), np.ones((12, 5)), 1.0, np.zeros(5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature", np.full((2, 3), WIDTH, np.int32)),
        ("feature", np.full((2, 3), -1, np.int32)),
        ("border", np.zeros((2, 4), np.float32)),
        ("border", np.full((2, 3), np.nan, np.float32)),
        ("leaf", np.ones((11, 5))),
        ("leaf", np.full((12, 5), np.inf)),
        ("bias", np.zeros(3)),
    ],
)
def test_arrays_that_are_no_forest_are_refused(name: str, value: np.ndarray) -> None:
    arrays = {
        "scale": 1.0,
        **{part: getattr(small_forest(), part) for part in ("feature", "border", "leaf", "bias")},
    }
    out = io.BytesIO()
    np.savez(out, **{**arrays, name: value})
    with pytest.raises(BadInputError, match="forest"):
        Trees.from_npz(out.getvalue())


def test_crossing_outputs_come_out_sorted() -> None:
    leaf = np.tile([3.0, 1.0, 2.0, 0.0, -1.0], (12, 1))
    forest = Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), leaf, 1.0, np.zeros(5))
    model = TreesModel(Origin(60), forest, median_weight=0.0)
    out = model.scaled(np.zeros((4, WIDTH), np.float32))
    assert np.all(np.diff(out, axis=1) >= 0)


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(BadInputError, match="inputs"):
        TreesModel(Origin(60), small_forest()).scaled(np.zeros((2, WIDTH - 1), np.float32))
