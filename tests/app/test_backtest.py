"""Backtests: the live code and the vectorised walk-forward agree, and nothing of the future is used."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from app.backtest import Backtest, Outcome
from app.cli import cli
from ml import dataset
from ml.candle_file import History, read_candles
from ml.catboost_model import Params
from ml.walkforward import Plan, run
from ml.zoo.naive import BASELINE
from ml.zoo.trees import SERVED, served
from tests.support.candle_files import candle_columns, clock_file, write_recording
from tests.support.checked import quiet

FEW = Params(iterations=12, depth=3)
PLAN = Plan(folds=2, test_share=0.4)


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> list[History]:
    file = tmp_path_factory.mktemp("clock") / "candles.parquet"
    return read_candles(clock_file(file, 5_000, {"B/USD": 1, "A/USD": 2}))


@pytest.fixture(scope="module")
def done(histories: list[History]) -> tuple[Backtest, dict[int, Outcome]]:
    backtest = Backtest(histories, [60, 300], PLAN, quiet, FEW)
    return backtest, backtest.run()


def test_forecasts_one_by_one_equal_those_of_whole_arrays(done: tuple[Backtest, dict[int, Outcome]]) -> None:
    backtest, outcomes = done
    table = backtest.table()
    for horizon_s, outcome in outcomes.items():
        rows = dataset.samples(table, horizon_s)
        whole = run(rows, horizon_s, [BASELINE, served(FEW)], PLAN, backtest.span_ms, quiet)
        tested = outcome.tested
        assert tested.spans == whole.spans
        assert (tested.rows.open_ms == whole.rows.open_ms).all()
        assert (tested.rows.pair == whole.rows.pair).all()
        assert (tested.quantiles[BASELINE.name] == whole.quantiles[BASELINE.name]).all()
        # Prices and back again: the last bits of a logarithm.
        np.testing.assert_allclose(tested.quantiles[SERVED], whole.quantiles[SERVED], rtol=0, atol=1e-14)


def test_other_prices_later_change_no_forecast_before(
    histories: list[History], done: tuple[Backtest, dict[int, Outcome]]
) -> None:
    backtest, outcomes = done
    first_ms, last_ms = backtest.span_ms
    from_ms = last_ms - (last_ms - first_ms) // 10
    moved = []
    for one in histories:
        later = one.columns["open_ms"] >= from_ms
        columns = dict(one.columns)
        for name in ("open", "high", "low", "close"):
            columns[name] = np.where(later, columns[name] * (1.5 + 0.4 * np.sin(columns["open_ms"])), columns[name])
        columns["high"], columns["low"] = (
            pick(np.stack([columns[name] for name in ("open", "high", "low", "close")]), axis=0)
            for pick in (np.max, np.min)
        )
        columns["quote_volume"] = np.where(later, columns["volume"] * columns["close"], columns["quote_volume"])
        moved.append(msgspec.structs.replace(one, columns=columns))
    other = Backtest(moved, [60, 300], PLAN, quiet, FEW).run()
    for horizon_s, outcome in outcomes.items():
        ours, theirs = outcome.tested, other[horizon_s].tested
        before, same = ours.rows.open_ms < from_ms, theirs.rows.open_ms < from_ms
        # A label that reaches behind the change is another one; a forecast is not.
        assert set(ours.rows.open_ms[before]) == set(theirs.rows.open_ms[same])
        assert (ours.quantiles[SERVED][before] == theirs.quantiles[SERVED][same]).all()
        assert (ours.quantiles[SERVED][~before] != theirs.quantiles[SERVED][~same]).any()


def test_what_can_be_learnt_shows_in_the_report(tmp_path: Path) -> None:
    file = clock_file(tmp_path / "candles.parquet", 8_000, {"A/USD": 3})
    report = tmp_path / "out" / "backtest.html"
    done = CliRunner().invoke(cli, ["backtest", str(file), "--horizon", "1", "--folds", "2", "--report", str(report)])
    assert done.exit_code == 0, done.output
    assert "1 min ahead: A/USD" in done.output
    found = json.loads(report.with_suffix(".json").read_text())
    figures = found["figures"]["1"]
    assert figures["pinball_skill_pct"] > 1.0
    assert figures["live_skill_pct"] > 1.0
    assert figures["dm_p"] < 1e-6
    assert (figures["folds_positive"], figures["folds"]) == (2, 2)
    assert 0.87 < figures["coverage90"] < 0.93
    assert {one["model"] for one in found["leaderboards"]["1"]["standings"]} == {"catboost", "ewma-vol"}
    page = report.read_text()
    assert len(page.encode()) < 2_000_000
    assert "fold 2" in page
    assert f"{figures['pinball_skill_pct']:+.2f} %" in page


def test_a_history_that_is_too_short_says_so(tmp_path: Path) -> None:
    file = write_recording(tmp_path / "short.parquet", candle_columns(1_500))
    done = CliRunner().invoke(cli, ["backtest", str(file)])
    assert done.exit_code != 0
    assert "give a longer history or fewer folds" in str(done.exception) + done.output
