"""The data contract and the figures beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import dataset
from ml.baseline import BaselineModel
from ml.checks.contract import RULES, contract, remedy
from ml.checks.quality import JUMP_LEAST, Quality, look
from ml.model import Origin
from ml.training import judge
from tables.records import DAY_MS, MINUTE_MS
from tests.support.feature_columns import clock_candles, feature_columns, noise_candles, stack

PRICES = ("open", "high", "low", "close")


def candles(minutes: int = 600, pair: str = "BTC/USD", seed: int = 1) -> dict[str, Any]:
    return {"pair": np.full(minutes, pair), **clock_candles(minutes, seed)}


def broken_rules(quality: Quality) -> dict[str, int]:
    return {one.rule: one.rows for one in quality.broken}


def scaled(table: dict[str, Any], rows: Any, factor: float) -> dict[str, Any]:
    changed = {name: column.copy() for name, column in table.items()}
    for name in PRICES:
        changed[name][rows] *= factor
    return changed


def changed(table: dict[str, Any], name: str, row: int, value: float) -> dict[str, Any]:
    out = {key: column.copy() for key, column in table.items()}
    out[name][row] = value
    return out


def taken(table: dict[str, Any], rows: Any) -> dict[str, Any]:
    return {name: column[rows] for name, column in table.items()}


def test_sound_history_keeps_the_contract_and_has_its_largest_move() -> None:
    quality = look(candles())
    assert contract(quality) is None
    assert (quality.gaps, quality.jumps, quality.late, quality.not_finite, quality.broken) == (0, 0, 0, 0, [])
    assert quality.largest_move is not None
    assert 0 < abs(quality.largest_move.share) < 0.02


@pytest.mark.parametrize("factor", [1.5, 0.5])
def test_one_bad_print_is_seen_named_and_refused(factor: float) -> None:
    quality = look(scaled(candles(), 300, factor))
    at_ms = int(candles()["open_ms"][300])
    assert quality.jumps == 2, "there and back"
    assert [one.open_ms for one in quality.first_jumps] == [at_ms, at_ms + MINUTE_MS]
    assert quality.first_jumps[0].share == pytest.approx(factor - 1, abs=0.01)
    assert quality.first_jumps[0].times > 50
    assert "2 rows with a jump further" in (contract(quality) or "")
    assert [one.first_ms for one in quality.broken] == [at_ms]


@pytest.mark.parametrize(("name", "factor"), [("high", 1.5), ("low", 0.6)])
def test_bad_print_within_a_bar_is_a_jump_too(name: str, factor: float) -> None:
    table = candles()
    quality = look(changed(table, name, 300, table[name][300] * factor))
    assert broken_rules(quality) == {"no jumps": 1}


def test_fat_tails_and_a_crash_of_a_fifth_are_a_market() -> None:
    noise = {"pair": np.full(20_000, "X/USD"), **noise_candles(20_000, 3)}
    assert contract(look(noise)) is None
    assert contract(look(scaled(noise, slice(9_000, None), 0.8))) is None


def test_calm_pair_of_few_moves_does_not_jump_by_a_tick() -> None:
    table = candles(2_000)
    for name in PRICES:
        table[name] = np.where(np.arange(2_000) % 50 == 7, 1.0001, 1.0)
    quality = look(table)
    assert contract(quality) is None
    assert quality.largest_move is not None


def test_wild_pair_may_move_further_than_a_calm_one() -> None:
    wild = clock_candles(3_000, 1)
    moves = np.random.default_rng(2).normal(0, 0.02, 3_000)
    close = 100 * np.exp(np.cumsum(moves) - np.cumsum(moves).mean())
    table = {**candles(3_000), **dict.fromkeys(PRICES, close), "volume": wild["volume"]}
    assert contract(look(scaled(table, slice(1_500, None), 1.4))) is None, "50 times 2 % are far more"


def test_move_over_a_gap_is_measured_against_the_time_between() -> None:
    table = scaled(candles(), slice(300, None), 1.5)
    rows = np.ones(600, dtype=bool)
    rows[295:300] = False
    assert look(taken(table, rows)).jumps == 0, "1.5 over six minutes"
    assert look(table).jumps == 1


def test_gaps_are_counted_by_stretch_and_cost_no_contract() -> None:
    rows = np.ones(600, dtype=bool)
    rows[100] = rows[200:210] = False
    table = candles()
    quality = look(taken(table, rows))
    assert contract(quality) is None
    assert (quality.gaps, quality.gap_runs) == (11, 2)
    assert [(one.from_ms, one.minutes) for one in quality.first_gaps] == [
        (int(table["open_ms"][100]), 1),
        (int(table["open_ms"][200]), 10),
    ]
    assert quality.longest_gap == quality.first_gaps[1]


@pytest.mark.parametrize("later", [0, 1])
def test_neither_gaps_nor_order_run_from_pair_to_pair(later: int) -> None:
    one, two = candles(300), candles(300, "ETH/USD", seed=2)
    moved = (one, two)[later]
    moved["open_ms"] = moved["open_ms"] + 5 * DAY_MS
    quality = look(stack(two, one))
    assert (quality.gaps, quality.jumps, quality.late, quality.pairs) == (0, 0, 0, 2)
    assert contract(quality) is None


BREAKS: list[tuple[str, Any, int]] = [
    ("whole minutes", lambda t: changed(t, "open_ms", 50, t["open_ms"][50] + 1_000), 1),
    ("one minute a row", lambda t: taken(t, slice(None, None, 5)), 120),
    ("time order", lambda t: taken(t, slice(None, None, -1)), 599),
    ("one row a minute", lambda t: taken(t, np.repeat(np.arange(600), np.where(np.arange(600) == 9, 3, 1))), 2),
    ("values are numbers", lambda t: changed(t, "close", 50, np.nan), 1),
    ("values are numbers", lambda t: changed(t, "high", 50, np.inf), 1),
    ("values are numbers", lambda t: changed(t, "volume", 50, np.nan), 1),
    ("prices in order", lambda t: changed(t, "close", 50, t["high"][50] * 1.001), 1),
    ("prices in order", lambda t: changed(t, "open", 50, t["low"][50] * 0.999), 1),
    ("prices in order", lambda t: changed(t, "low", 50, -1.0), 1),
    ("volume", lambda t: changed(t, "volume", 50, -0.5), 1),
    ("no jumps", lambda t: scaled(t, slice(50, None), 2.0), 1),
]


@pytest.mark.parametrize(("rule", "spoil", "rows"), BREAKS, ids=[f"{at} {one[0]}" for at, one in enumerate(BREAKS)])
def test_each_fault_breaks_its_rule_and_no_other(rule: str, spoil: Any, rows: int) -> None:
    quality = look(spoil(candles()))
    assert broken_rules(quality) == {rule: rows}
    assert contract(quality) is not None
    assert remedy(quality.broken[0])


def test_every_rule_is_broken_by_some_test() -> None:
    assert {one[0] for one in BREAKS} == {rule.name for rule in RULES} - {"features are there"}


def test_missing_features_of_warm_rows_break_the_contract() -> None:
    table = feature_columns("X/USD", clock_candles(600, seed=1))
    assert contract(dataset.prepare(table).quality) is None
    for name in ("rsi_7", "rsi_14", "rsi_21", "adx_7"):
        table[name][:] = np.nan
    quality = dataset.prepare(table).quality
    assert quality.nan_share > 0.05
    assert broken_rules(quality) == {"features are there": 600}


def test_gate_of_a_training_names_what_broke() -> None:
    table = dataset.prepare(scaled(feature_columns("X/USD", clock_candles(2_000, seed=1)), 300, 1.5))
    model = BaselineModel(Origin(60))
    report = judge({"challenger": model, "baseline": model}, dataset.samples(table, 60), table.quality)
    assert "data contract" in report.reasons
    (check,) = [one for one in report.checks if one.name == "data contract"]
    assert check.value == "2 rows with a jump further than a market moves in a minute"


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-4, 1e5), st.integers(2, 598), st.floats(0.3, 3.0), st.booleans())
def test_jump_is_found_at_any_price_and_place(price: float, at: int, size: float, up: bool) -> None:
    table = {**candles(), **dict.fromkeys(PRICES, np.full(600, price) * np.exp(1e-4 * np.sin(np.arange(600))))}
    quality = look(scaled(table, slice(at, None), float(np.exp(size if up else -size))))
    assert [one.open_ms for one in quality.first_jumps] == [int(table["open_ms"][at])]
    assert size > JUMP_LEAST
