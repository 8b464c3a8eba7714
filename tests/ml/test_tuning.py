from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from ml import dataset, tuning
from ml.catboost_model import DEFAULTS
from ml.settings import TrainerSettings
from tests.support.feature_columns import clock_candles, feature_columns

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def train() -> dataset.Samples:
    rows = dataset.samples(dataset.prepare(feature_columns("X/USD", clock_candles(4_000, seed=5))), 60)
    return dataset.split(rows, 60).train


def settings(home: Path, trials: int, budget_s: float = 60.0) -> TrainerSettings:
    return TrainerSettings(home=home, source="sim", tune_trials=trials, tune_budget_s=budget_s, train_threads=1)


def test_study_resumes_and_does_not_repeat_itself(tmp_path: Path, train: dataset.Samples) -> None:
    seen: list[tuple[int, int]] = []
    first = tuning.tune(train, 60, settings(tmp_path, 3), lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    second = tuning.tune(train, 60, settings(tmp_path, 6), lambda done, total: seen.append((done, total)))
    assert seen[3:] == [(4, 6), (5, 6), (6, 6)], "only what was missing"
    assert second.trials == 6
    assert second.best_loss is not None
    assert first.best_loss is not None
    assert second.best_loss <= first.best_loss
    study = tuning._open_study(tuning.study_name("sim", 60, int(train.open_ms.max())), settings(tmp_path, 6))
    rates = [trial.params["learning_rate"] for trial in study.trials]
    assert rates[0] == DEFAULTS.learning_rate, "the defaults are the first to beat"
    assert len(set(rates)) == len(rates), "a resumed sampler must not suggest the same again"
    again = tuning.tune(train, 60, settings(tmp_path, 6), lambda *_: pytest.fail("nothing is left to do"))
    assert again == second


def test_next_day_starts_with_what_was_best(tmp_path: Path, train: dataset.Samples) -> None:
    best = tuning.tune(train, 60, settings(tmp_path, 2), lambda *_: None)
    later = dataset.Samples(
        train.pair, train.open_ms + 86_400_000, train.close, train.sigma, train.x, train.ret, train.y
    )
    study = tuning._open_study(tuning.study_name("sim", 60, int(later.open_ms.max())), settings(tmp_path, 2))
    queued = [trial.system_attrs["fixed_params"]["learning_rate"] for trial in study.trials]
    assert queued[0] == DEFAULTS.learning_rate
    assert best.params.learning_rate in queued


def test_budget_ends_the_search_inside_a_trial(tmp_path: Path, train: dataset.Samples) -> None:
    started_s = time.monotonic()
    found = tuning.tune(train, 60, settings(tmp_path, 500, budget_s=1.0), lambda *_: None)
    assert time.monotonic() - started_s < 15.0
    assert found.trials < 500


def test_trial_cut_by_the_budget_does_not_set_the_number_of_trees(tmp_path: Path, train: dataset.Samples) -> None:
    found = tuning.tune(train, 60, settings(tmp_path, 5, budget_s=0.01), lambda *_: None)
    assert (found.params, found.best_loss) == (DEFAULTS, None)


def test_no_trials_means_defaults(tmp_path: Path, train: dataset.Samples) -> None:
    assert tuning.tune(train, 60, settings(tmp_path, 0), lambda *_: None) == (DEFAULTS, 0, None)
    few = train.take(train.open_ms < train.open_ms[60])
    assert tuning.tune(few, 60, settings(tmp_path, 5), lambda *_: None) == (DEFAULTS, 0, None)
