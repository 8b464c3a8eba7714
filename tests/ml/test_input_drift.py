"""Drift of inputs: the bins of the reference, PSI and KS by them, one alert an episode, nothing from a replay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import input_drift
from ml.baseline import BaselineModel
from ml.drift import Told
from ml.input_drift import WATCHED, PairInputs, Reference, distances, inputs_key
from ml.inputs import INPUT_NAMES, inputs, raw_row
from ml.model import WARM_UP_BARS, Origin
from ml.report.profile import ks as ks_of_rows
from ml.report.profile import psi as psi_of_rows
from ml.settings import DriftSettings
from tables.features import FEATURE_NAMES
from tables.records import MINUTE_MS, Features
from tests.support.drift_series import raised
from tests.support.samples import START_MS, features

PAIR = "BTC/USD"
RULES = DriftSettings(drift_input_rows=300)
ROWS = 1_000


def rows(seed: int, count: int, first: int = WARM_UP_BARS, shift: float = 0.0) -> list[Features]:
    """Features whose values are drawn anew each minute; `shift` moves all of them by so many deviations."""
    random = np.random.default_rng(seed)
    out = []
    for index in range(first, first + count):
        values = dict(zip(FEATURE_NAMES, (1.0 + 0.1 * (random.normal(size=len(FEATURE_NAMES)) + shift)), strict=True))
        out.append(features(index, close=1.5, values=values))
    return out


def matrix(some: list[Features]) -> np.ndarray[Any, Any]:
    return np.concatenate([inputs(raw_row(one)) for one in some])


def model(version: str = "1") -> BaselineModel:
    return BaselineModel(Origin(300, version=version, references={PAIR: Reference.of(matrix(rows(1, 2_000)))}))


MODEL = model()


class Stage:
    """The fold of a pair with its table."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.told = Told()
        self.restart()

    def restart(self) -> None:
        self.fold = PairInputs(PAIR, self.table.get)

    def take(self, some: list[Features], served: BaselineModel = MODEL) -> None:
        for one in some:
            self.fold.take(one, {300: served}, RULES, self.told)
            self.table[inputs_key(PAIR)] = self.fold.pack()


def test_reference_has_a_tenth_of_the_rows_in_each_bin_and_no_clock() -> None:
    reference = MODEL.origin.references[PAIR]
    assert len(reference.edges) == len(reference.shares) == len(WATCHED) == len(INPUT_NAMES) - 6
    at = WATCHED.index("rsi_14")
    assert reference.shares[at] == pytest.approx([0.1] * 10 + [0.0], abs=0.002)
    assert "day_of_week" not in WATCHED


def test_missing_values_have_a_bin_of_their_own() -> None:
    x = matrix(rows(1, 100))
    x[:30, INPUT_NAMES.index("rsi_14")] = math.nan
    assert Reference.of(x).shares[WATCHED.index("rsi_14")][-1] == 0.3


@given(st.floats(-1.5, 1.5), st.floats(0.5, 2.0), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_binned_distances_are_those_of_the_rows(shift: float, width: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    then, now = random.normal(size=4_000), shift + width * random.normal(size=3_000)
    edges = np.quantile(then, np.linspace(0.1, 0.9, 9))
    shares = [np.bincount(np.searchsorted(edges, x, side="right"), minlength=11) / len(x) for x in (then, now)]
    psi, ks = distances(shares[0][None], shares[1][None])
    assert psi[0] == pytest.approx(psi_of_rows(then, now), rel=1e-6)
    assert ks_of_rows(then, now) - 0.1 - 1e-9 <= ks[0] <= ks_of_rows(then, now) + 1e-9


def test_rows_like_those_of_the_training_raise_nothing() -> None:
    stage = Stage()
    stage.take(rows(2, 3 * ROWS))
    assert stage.told.alerts == []
    assert stage.fold.figures()[300]["rows"] == 3 * ROWS
    assert stage.fold.figures()[300]["moved"] == 0.0


def test_moved_inputs_are_one_alert_and_one_request_and_their_return_another_alert() -> None:
    stage = Stage()
    stage.take(rows(2, ROWS))
    stage.take(rows(3, ROWS, WARM_UP_BARS + ROWS, shift=2.0))
    assert raised(stage.told.alerts) == [("feature-drift", True)]
    delay = (stage.told.alerts[0].at_ms - START_MS) // MINUTE_MS - WARM_UP_BARS - ROWS
    print(f"all inputs moved by two deviations: told after {delay} rows")
    assert delay <= 3 * 60
    request = stage.told.requests[0]
    assert (request.reason, request.horizon_s, request.pair) == ("drift", 300, PAIR)
    assert request.asked_at_ms == stage.told.alerts[0].at_ms
    stage.take(rows(4, 4 * ROWS, WARM_UP_BARS + 2 * ROWS))
    assert raised(stage.told.alerts) == [("feature-drift", True), ("feature-drift", False)]
    assert all(one.asked_at_ms < stage.told.alerts[1].at_ms for one in stage.told.requests)


def test_a_few_moved_inputs_are_no_alarm() -> None:
    some = rows(2, 3 * ROWS)
    for one in some:
        for name in FEATURE_NAMES:
            if name.startswith("adx"):
                one.values[name] = 3.0
    stage = Stage()
    stage.take(some)
    assert stage.told.alerts == []
    assert 0 < float(stage.fold.figures()[300]["moved"]) < RULES.drift_input_share


def test_alarm_stands_while_less_than_its_bound_but_more_than_half_of_it_has_moved() -> None:
    stage = Stage()
    stage.take(rows(3, 2 * RULES.drift_input_rows, shift=2.0))
    some = rows(4, 4 * ROWS, WARM_UP_BARS + 2 * RULES.drift_input_rows)
    for one in some:
        for name in FEATURE_NAMES:
            if name.startswith(("adx", "rsi", "obv_change")):
                one.values[name] = 3.0
    stage.take(some)
    moved = float(stage.fold.figures()[300]["moved"])
    assert RULES.drift_input_share / 2 < moved < RULES.drift_input_share
    assert raised(stage.told.alerts) == [("feature-drift", True)]


def test_nothing_is_judged_before_the_window_is_full() -> None:
    stage = Stage()
    stage.take(rows(3, RULES.drift_input_rows - 1, shift=3.0))
    assert stage.told.alerts == []


def test_another_version_ends_the_alarm_and_begins_anew() -> None:
    stage = Stage()
    stage.take(rows(3, 400, shift=3.0))
    assert raised(stage.told.alerts) == [("feature-drift", True)]
    stage.take(rows(3, 1, WARM_UP_BARS + 400, shift=3.0), model("2"))
    assert raised(stage.told.alerts) == [("feature-drift", True), ("feature-drift", False)]
    assert stage.fold.figures()[300] == {
        "model": "ewma-vol",
        "model_version": "2",
        "rows": 1,
        "moved": 0.0,
        "alarm": False,
    }


@given(st.sets(st.integers(0, 799), max_size=6))
@settings(max_examples=5, deadline=None)
def test_restarts_and_a_replay_change_nothing(restarts: set[int]) -> None:
    some = [*rows(2, 400), *rows(3, 400, WARM_UP_BARS + 400, shift=2.0)]
    calm, restless = Stage(), Stage()
    calm.take(some)
    for at, one in enumerate(some):
        if at in restarts:
            restless.restart()
        restless.take([one])
    assert raised(calm.told.alerts) == [("feature-drift", True)]
    assert (restless.told, restless.table) == (calm.told, calm.table)
    before = dict(calm.table)
    calm.restart()
    calm.take(some)
    assert (len(calm.told.alerts), calm.table) == (1, before)


def test_synthetic_and_cold_rows_and_models_without_a_reference_are_not_counted() -> None:
    stage = Stage()
    stage.take([features(WARM_UP_BARS, synthetic=True), features(5)])
    stage.take(rows(2, 5), BaselineModel(Origin(300)))
    stage.take(rows(2, 5), BaselineModel(Origin(300, references={"ETH/USD": MODEL.origin.references[PAIR]})))
    assert stage.fold.row == input_drift.Row()


def test_state_stays_small() -> None:
    stage = Stage()
    stage.take(rows(2, 500))
    assert len(stage.table[inputs_key(PAIR)]) < 3_000


def test_inputs_that_stay_moved_ask_again_after_their_time() -> None:
    stage = Stage()
    stage.take(rows(2, ROWS))
    stage.take(rows(3, 900, WARM_UP_BARS + ROWS, shift=2.0))
    assert raised(stage.told.alerts) == [("feature-drift", True)]
    first, *later = (one.asked_at_ms for one in stage.told.requests)
    assert later
    assert all(asked - first >= RULES.drift_ask_again_s * 1_000 for asked in later)
