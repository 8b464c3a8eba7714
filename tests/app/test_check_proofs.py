"""`tickcast check lookahead` and `warmup` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from redpanda.errors import BadInputError
from tables.features import FEATURE_NAMES
from tables.features.arrays import Array, Columns
from tables.features.indicators.atr import Atr
from tables.features.window import Window
from tests.app.test_cli import tickcast
from tests.support.candle_files import recorded, write_recording

ROWS = 3_400


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recording") / "BTC.parquet", recorded(ROWS))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack of this folder may answer."""
    monkeypatch.chdir(tmp_path)


def check(*words: str) -> Result:
    return CliRunner().invoke(cli, ["check", *words])


def test_lookahead_tells_every_feature_and_every_horizon(file: Path) -> None:
    done = check("lookahead", str(file), "--rows", "1500", "--cuts", "1")
    assert done.exit_code == 0, done.output
    assert all(f"\n{name} " in done.output for name in FEATURE_NAMES)
    assert "LEAK" not in done.output
    assert "15 min: labels ok" in done.output
    assert "nothing reads the future" in done.output


def test_leak_in_the_catalogue_is_named_and_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(_cls: type[Atr], bars: Columns) -> list[Array]:
        return [np.append(bars["close"][1:], np.nan)]

    monkeypatch.setattr(Atr, "bulk", classmethod(leaking))
    done = check("lookahead", str(file), "--rows", "1500", "--cuts", "1", "--json")
    assert done.exit_code == 1
    (found,) = json.loads(done.output).values()
    assert {(one["kind"], one["name"], one["where"]) for one in found["leaks"]} == {
        ("feature", "atr_14", "bulk"),
        ("input", "atr_14_scaled", "bulk"),
    }


def test_warmup_tells_restarts_and_cold_starts(file: Path) -> None:
    done = check("warmup", str(file), "--stops", "20")
    assert done.exit_code == 0, done.output
    assert "0 of 57 features differ in any bit" in done.output.replace(str(len(FEATURE_NAMES)), "57")
    assert "restarts change nothing" in done.output
    assert "> 1,600" in done.output


def test_restart_that_changes_a_feature_is_named_and_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(self: Atr, _window: Window) -> tuple[float, ...]:
        self.__dict__["seen"] = self.__dict__.get("seen", 0.0) + 1.0
        return (self.__dict__["seen"],)

    monkeypatch.setattr(Atr, "update", counting)
    done = check("warmup", str(file), "--stops", "3")
    assert done.exit_code == 1
    assert "DIFFERENT atr_14" in done.output
    assert done.output.count("DIFFERENT") == 1


def test_broken_rows_are_left_out_with_a_note(tmp_path: Path) -> None:
    columns = recorded(700)
    columns["high"][30] = columns["low"][30] / 2
    file = write_recording(tmp_path / "odd.parquet", {name: column[::-1] for name, column in columns.items()})
    done = check("lookahead", str(file), "--cuts", "1")
    assert "1 rows of FILE are left out" in done.stderr
    assert "were put in order" in done.stderr
    assert done.exit_code == 0


@pytest.mark.parametrize("words", [["lookahead"], ["warmup"], ["warmup", "x.parquet", "--store"]])
def test_source_must_be_said(words: list[str]) -> None:
    done = check(*words)
    assert isinstance(done.exception, BadInputError)
    assert "give a Parquet file of 1m candles, or --store" in str(done.exception)


@pytest.mark.parametrize("command", ["data", "lookahead", "warmup"])
def test_help_shows_examples(command: str, tmp_path: Path) -> None:
    done = tickcast("check", command, "--help", cwd=tmp_path)
    assert f"Examples:\n    tickcast check {command}" in done.stdout
