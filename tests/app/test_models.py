"""`tickcast models` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.baseline import BaselineModel
from ml.model import Origin
from ml.registry import Record, Registry
from ml.settings import MlSettings
from tests.app.test_cli import one_line_error, tickcast


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    registry = Registry(MlSettings(home=folder))
    registry.ensure_baseline((300,))
    tags = {"kind": "ewma-vol", "verdict": "refuse", "refused_for": "[bold]too few rows", "data_from_ms": "86400000"}
    registry.register(
        BaselineModel(Origin(300)), Record(tags=tags, metrics={"pinball_skill": -0.01}, verdict={"report": {}})
    )
    return folder


def test_list_and_show_and_the_two_ways_to_change_what_serves(home: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = tickcast("models", *words, "--home", str(home), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    table = run("list")
    assert "refused: [bold]too few rows" in table, "shown as it is, not as markup"
    assert "-1.00 %" in table
    assert "1970-01-02" in table
    rows = json.loads(run("list", "--horizon", "5", "--json"))
    assert [(row["version"], row["aliases"]) for row in rows] == [("2", ["challenger"]), ("1", ["champion"])]
    assert json.loads(run("list", "--horizon", "7", "--json")) == []
    assert "feature_set" in run("show", "1", "--horizon", "5")
    text = one_line_error(tickcast("models", "promote", "2", "--horizon", "5", "--home", str(home), cwd=tmp_path))
    assert "--force REASON" in text
    assert "version 2 serves 5 min" in run("promote", "2", "--horizon", "5", "--force", "a test")
    assert json.loads(run("show", "2", "--horizon", "5", "--json"))["forced"] == "a test"
    assert "version 1 serves 5 min" in run("rollback", "--horizon", "5")


@pytest.mark.parametrize("command", ["list", "show", "promote", "rollback"])
def test_help_shows_examples(command: str, tmp_path: Path) -> None:
    done = tickcast("models", command, "--help", cwd=tmp_path)
    assert f"Examples:\n    tickcast models {command}" in done.stdout


def test_a_registry_that_is_not_there_yet_says_how_it_comes(tmp_path: Path) -> None:
    done = tickcast("models", "list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tickcast train" in done.stdout
    assert not (tmp_path / ".tickcast" / "mlflow").exists()
