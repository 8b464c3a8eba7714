from __future__ import annotations

import itertools

import numpy as np
import pytest

from ml import dataset, walkforward
from ml.catboost_model import Params
from ml.evaluate import pinball
from ml.leaderboard import Leaderboard
from ml.standings import figures, leaderboard, one_sided
from ml.walkforward import Plan, fold_edges, folds, run
from ml.zoo import naive, points
from ml.zoo.candidate import Blocks, Candidate, Predict
from ml.zoo.naive import BASELINE
from ml.zoo.trees import served
from redpanda.errors import BadInputError, MissingToolError
from tables.records import MINUTE_MS
from tests.support.checked import quiet
from tests.support.feature_columns import clock_candles, feature_columns, stack

HORIZON_S = 300
PLAN = Plan(folds=3, test_share=0.5, calibration_days=1.0)


@pytest.fixture(scope="module")
def table() -> dataset.Table:
    parts = (feature_columns(pair, clock_candles(6_000, seed)) for pair, seed in (("A/USD", 1), ("B/USD", 2)))
    return dataset.prepare(stack(*parts))


@pytest.fixture(scope="module")
def rows(table: dataset.Table) -> dataset.Samples:
    return dataset.samples(table, HORIZON_S)


def span_of(table: dataset.Table) -> tuple[int, int]:
    return int(table.open_ms.min()), int(table.open_ms.max())


def test_no_label_of_a_fold_is_known_later_than_its_test_begins(table: dataset.Table, rows: dataset.Samples) -> None:
    first_ms, last_ms = span_of(table)
    edges = fold_edges(first_ms, last_ms, PLAN)
    seen = []
    for fold in folds(rows, HORIZON_S, PLAN, edges, first_ms):
        known_ms = {
            name: int(block.open_ms.max()) + MINUTE_MS + HORIZON_S * 1_000
            for name, block in (("train", fold.train), ("calibration", fold.calibration))
        }
        assert known_ms["train"] <= fold.calibration.open_ms.min()
        assert known_ms["calibration"] <= fold.test.open_ms.min()
        assert (fold.train.open_ms % (HORIZON_S * 1_000) == 0).all()
        assert fold.span.test_rows == len(fold.test)
        seen.append(fold.test.open_ms)
    every = np.unique(np.concatenate(seen))
    # Every minute of the second half is tested on once, and only the last of them have no label.
    assert len(seen) == PLAN.folds
    assert all(one.max() < other.min() for one, other in itertools.pairwise(seen))
    assert (np.diff(every) == MINUTE_MS).all()
    assert (every[0], every[-1]) == (edges[0], last_ms - HORIZON_S * 1_000)


def test_training_slides_when_the_history_is_longer_than_its_days(table: dataset.Table, rows: dataset.Samples) -> None:
    first_ms, last_ms = span_of(table)
    plan = Plan(folds=3, train_days=1.0, calibration_days=0.25)
    for fold in folds(rows, HORIZON_S, plan, fold_edges(first_ms, last_ms, plan), first_ms):
        assert fold.train.open_ms.min() >= fold.span.train_from_ms > first_ms
        assert fold.span.test_from_ms - fold.span.train_from_ms == 30 * 3_600_000


def test_a_short_history_is_refused_with_what_to_do(table: dataset.Table, rows: dataset.Samples) -> None:
    plan = Plan(folds=60)
    with pytest.raises(BadInputError, match="give a longer history or fewer folds"):
        list(folds(rows, HORIZON_S, plan, fold_edges(*span_of(table), plan), span_of(table)[0]))


@pytest.fixture(scope="module")
def board(table: dataset.Table, rows: dataset.Samples) -> tuple[walkforward.Tested, Leaderboard]:
    candidates = [*naive.CANDIDATES, *points.CANDIDATES, served(Params(iterations=60, depth=4)), missing()]
    tested = run(rows, HORIZON_S, candidates, PLAN, span_of(table), quiet)
    return tested, leaderboard(tested, HORIZON_S, table.pairs)


def missing() -> Candidate:
    def fit(_: Blocks) -> Predict:
        raise MissingToolError("its package is not installed")

    return Candidate("absent", "a model whose package is not there", fit)


@pytest.mark.proof
def test_every_model_is_scored_on_the_same_rows(board: tuple[walkforward.Tested, Leaderboard]) -> None:
    tested, found = board
    whole = [one for one in found.standings if one.fold is None and not one.pair]
    assert {one.model for one in whole} == {
        *("ewma-vol", "last-price", "drift", "momentum", "ridge", "elastic-net", "huber", "hist-gb", "lightgbm"),
        "catboost",
    }
    assert {one.metrics.rows for one in whole} == {len(tested.rows)}
    for quantiles in tested.quantiles.values():
        assert (np.diff(quantiles, axis=1) >= 0).all()
        assert np.isfinite(quantiles).all()
    assert [one.metrics.pinball_bps for one in whole] == sorted(one.metrics.pinball_bps for one in whole)


@pytest.mark.proof
def test_a_model_that_is_not_installed_is_named_and_leaves_the_others_alone(
    board: tuple[walkforward.Tested, Leaderboard],
) -> None:
    tested, _ = board
    assert tested.missing == {"absent": "its package is not installed"}
    assert "absent" not in tested.quantiles


@pytest.mark.proof
def test_who_can_learn_the_hours_wins(board: tuple[walkforward.Tested, Leaderboard]) -> None:
    _, found = board
    of = figures(found, "catboost")
    assert of["pinball_skill_pct"] is not None
    assert of["pinball_skill_pct"] > 1.0
    assert of["dm_p"] is not None
    assert of["dm_p"] < 1e-6
    assert of["folds_positive"] == of["folds"] == 3
    assert next(one.model for one in found.standings if one.fold is None) == "catboost"
    momentum = figures(found, "momentum")
    assert momentum["mae_skill_pct"] is not None
    assert momentum["mae_skill_pct"] < -1.0


@pytest.mark.proof
def test_skill_is_the_saved_share_of_the_baselines_loss(board: tuple[walkforward.Tested, Leaderboard]) -> None:
    tested, found = board
    for name, quantiles in tested.quantiles.items():
        ours, base = (pinball(tested.rows.ret, some).mean() for some in (quantiles, tested.quantiles[BASELINE.name]))
        whole = next(one for one in found.standings if one.model == name and one.fold is None and not one.pair)
        assert whole.pinball_skill == pytest.approx(1 - ours / base, abs=1e-12)
    base = figures(found, BASELINE.name)
    assert (base["pinball_skill_pct"], base["mae_skill_pct"], base["dm_p"]) == (0.0, 0.0, 0.5)


def test_one_sided_probability() -> None:
    assert one_sided(0.0) == 0.5
    assert one_sided(-1.6448536269514722) == pytest.approx(0.05)
    assert one_sided(3.0) > 0.99
