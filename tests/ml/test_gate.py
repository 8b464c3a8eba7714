from __future__ import annotations

import math
from typing import Any

import pytest

from ml import dataset
from ml.gate import decide
from ml.training import contract
from tests.support.feature_columns import clock_candles, feature_columns, noise_candles
from tests.support.gate import trained_verdict

GOOD: dict[str, Any] = {
    "dm_baseline": -3.0,
    "dm_champion": -2.0,
    "skill": 0.007,
    "mae_dm": 0.5,
    "fold_coverage90": [0.89, 0.905, 0.91, 0.9],
    "fold_skill": [0.01, 0.01, -0.001, 0.004],
    "contract": None,
    "hashes_match": True,
}


def test_a_challenger_that_holds_every_check_is_promoted() -> None:
    verdict = decide(**GOOD)
    assert verdict.promote
    assert verdict.reasons == []
    assert len(verdict.checks) == 8


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("dm_baseline", -1.6, "baseline"),
        ("dm_baseline", math.nan, "baseline"),
        ("dm_champion", -1.6, "champion"),
        ("dm_champion", None, "champion"),
        ("dm_champion", math.nan, "champion"),
        ("skill", 0.0019, "skill"),
        ("skill", math.nan, "skill"),
        ("mae_dm", 1.7, "absolute error"),
        ("mae_dm", math.nan, "absolute error"),
        ("fold_coverage90", [0.9, 0.869, 0.9], "interval"),
        ("fold_coverage90", [0.9, 0.931, 0.9], "interval"),
        ("fold_coverage90", [0.9, math.nan, 0.9], "interval"),
        ("fold_coverage90", [], "interval"),
        ("fold_skill", [0.01, -0.01, 0.01], "folds"),
        ("fold_skill", [], "folds"),
        ("contract", "3 duplicate rows", "contract"),
        ("hashes_match", False, "hashes"),
    ],
)
def test_one_failed_check_refuses_and_is_named(name: str, value: Any, reason: str) -> None:
    verdict = decide(**{**GOOD, name: value})
    assert not verdict.promote
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]


def test_noise_is_promoted_at_most_once_in_twenty() -> None:
    seeds = range(1_000, 1_040)
    promoted = [seed for seed in seeds if trained_verdict(noise_candles(3_000, seed), 60, seed)]
    print(f"noise: seeds {seeds.start} to {seeds.stop - 1}, promoted {promoted}")  # shown by -rA
    assert len(promoted) <= len(seeds) * 0.05


@pytest.mark.proof
def test_what_can_be_learnt_is_promoted_most_of_the_time() -> None:
    seeds = range(11, 19)
    refused = [seed for seed in seeds if not trained_verdict(clock_candles(12_000, seed), 60, seed)]
    print(f"clock: seeds {seeds.start} to {seeds.stop - 1}, refused {refused}")  # shown by -rA
    assert len(refused) <= 2  # each check of the gate is a test with an error of its own: one in 20 falls by chance


def test_broken_data_break_the_contract() -> None:
    table = feature_columns("X/USD", clock_candles(300, seed=1))
    assert contract(dataset.prepare(table).quality) is None
    table["low"][100] = table["high"][100] + 1
    assert "prices" in (contract(dataset.prepare(table).quality) or "")
