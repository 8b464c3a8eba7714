"""A seed decides a run, and every run has some of everything."""

from __future__ import annotations

from itertools import accumulate

import pytest

from tests.chaos.blows import BLOWS
from tests.chaos.schedule import KILLING, MOST_GAP_S, SHORT_RUN_GAP_S, Kind, schedule

SEEDS = range(1, 30)


@pytest.mark.parametrize("kills", [1, 5, 20, 100])
def test_a_run_has_so_many_kills_and_every_other_kind(kills: int) -> None:
    for seed in SEEDS:
        kinds = [step.kind for step in schedule(kills, seed)]
        assert sum(kind in KILLING for kind in kinds) == kills
        assert kills < 5 or set(kinds) == set(Kind)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    assert schedule(30, 1) == schedule(30, 1)
    assert schedule(30, 1) != schedule(30, 2)


def test_workers_go_from_one_to_three_and_back_with_a_kill_among_three() -> None:
    for seed in SEEDS:
        kinds = [step.kind for step in schedule(100, seed)]
        workers = list(accumulate(((kind is Kind.JOIN) - (kind is Kind.LEAVE) for kind in kinds), initial=1))
        assert (min(workers), max(workers), workers[-1]) == (1, 3, 1)
        assert any(number == 3 and kind in KILLING for number, kind in zip(workers, kinds, strict=False))


def test_pauses_are_a_tenth_of_a_second_to_half_a_minute_in_bursts_and_stretches() -> None:
    for seed in SEEDS:
        gaps = [step.gap_s for step in schedule(100, seed)]
        assert 0.1 <= min(gaps) < 0.3
        assert 20 < max(gaps) <= MOST_GAP_S
        assert 0.2 < sum(gap < 1.0 for gap in gaps) / len(gaps) < 0.4
        assert sum(gaps) < 1_200, "a hundred kills are to end in half an hour"


def test_a_short_run_is_short() -> None:
    for seed in SEEDS:
        gaps = [step.gap_s for step in schedule(5, seed)]
        assert max(gaps) <= SHORT_RUN_GAP_S
        assert sum(gaps) < 70


def test_kinds_can_be_left_out() -> None:
    kinds = [step.kind for step in schedule(20, 1, frozenset({Kind.TEAR, Kind.BROKER}))]
    assert not {Kind.TEAR, Kind.BROKER} & set(kinds)
    assert sum(kind in KILLING for kind in kinds) == 20


def test_every_kind_has_its_blow() -> None:
    assert set(BLOWS) == set(Kind)
