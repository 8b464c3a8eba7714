from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.artefact import TREES
from ml.baseline import BaselineModel
from ml.errors import ModelRefusedError
from ml.model import Origin
from ml.quiet_mlflow import delete_artifact
from ml.registry import PRUNED, REPORT, Record, model_name
from ml.settings import MlSettings
from ml.trees import Trees, TreesModel
from ml.versions import Shelf
from redpanda.errors import ConfigError
from tables.features.catalog import FEATURE_SET


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one registry to all tests of this file: each test has a horizon of its own."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def shelf(home: Path) -> Shelf:
    return Shelf(MlSettings(home=home))


def forest() -> Trees:
    leaf = np.tile(np.array([-1.6, -0.6, 0.1, 0.7, 1.7]), (12, 1))
    return Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), leaf / 3, 1.0, np.zeros(5))


def trained(shelf: Shelf, horizon_s: int, verdict: str = "promote") -> str:
    """Register a challenger over a baseline champion."""
    shelf.ensure_baseline((horizon_s,))
    tags = {
        "kind": "catboost",
        "source": "sim",
        "data_from_ms": "1000",
        "data_to_ms": "2000",
        "verdict": verdict,
        "refused_for": "" if verdict == "promote" else "pinball skill over the baseline",
    }
    check: dict[str, Any] = {"name": "pinball skill", "ok": verdict == "promote", "value": 0.01, "bound": ">= 0.002"}
    kept = {"report": {"checks": [check]}}
    record = Record(tags=tags, params={"depth": "5"}, metrics={"pinball_skill": 0.0125}, verdict=kept)
    return shelf.register(TreesModel(Origin(horizon_s, source="sim"), forest()), record)


def test_empty_registry_lists_nothing_and_creates_nothing(tmp_path: Path) -> None:
    assert Shelf(MlSettings(home=tmp_path)).versions() == []
    assert list(tmp_path.iterdir()) == []


def test_a_version_tells_all_that_was_kept_of_it(shelf: Shelf) -> None:
    version = trained(shelf, 60)
    new, old = [one for one in shelf.versions() if one.horizon_s == 60]
    assert (new.version, new.kind, new.aliases) == (version, "catboost", ["challenger"])
    assert (new.data_from_ms, new.data_to_ms, new.pinball_skill) == (1000, 2000, 0.0125)
    assert (new.verdict, new.source, new.feature_set, new.params["depth"]) == ("promote", "sim", FEATURE_SET, "5")
    assert new.code
    assert new.created_ms > old.created_ms
    assert [check["name"] for check in shelf.checks(new)] == ["pinball skill"]
    assert (old.kind, old.aliases, old.verdict, old.pinball_skill) == ("ewma-vol", ["champion"], "", None)
    assert shelf.checks(old) == [], "nobody asked the gate about the untrained baseline"


def test_versions_come_by_horizon_and_newest_first_even_past_nine(shelf: Shelf) -> None:
    shelf.ensure_baseline((120, 180))
    for _ in range(9):
        shelf.register(BaselineModel(Origin(120)), Record())
    numbers = [(one.horizon_s, int(one.version)) for one in shelf.versions() if one.horizon_s in {120, 180}]
    assert numbers == [(120, at) for at in range(10, 0, -1)] + [(180, 1)]


def test_what_the_gate_refused_needs_a_reason_which_is_kept(shelf: Shelf) -> None:
    version = trained(shelf, 240, "refuse")
    for nothing in ("", "  "):
        with pytest.raises(ConfigError, match=r"refused by the gate \(pinball skill.*--force REASON"):
            shelf.promote_by_hand(240, version, nothing)
    assert shelf.champion_version(240) == "1"
    shelf.promote_by_hand(240, version, "the baseline is broken")
    assert shelf.champion_version(240) == version
    found = shelf.version(240, version)
    assert (found.forced, found.verdict) == ("the baseline is broken", "refuse")


def test_what_the_gate_let_through_needs_no_reason(shelf: Shelf) -> None:
    version = trained(shelf, 300)
    shelf.promote_by_hand(300, version)
    found = shelf.version(300, version)
    assert (found.aliases, found.forced) == (["challenger", "champion"], "")
    assert shelf.version(300, "1").aliases == ["previous"]


def test_rollback_swaps_champion_and_previous_and_back(shelf: Shelf) -> None:
    version = trained(shelf, 360)
    shelf.promote_by_hand(360, version)
    assert shelf.rollback(360) == "1"
    assert (shelf.version(360, "1").aliases, shelf.version(360, version).aliases) == (
        ["champion"],
        ["challenger", "previous"],
    )
    assert shelf.rollback(360) == version


def test_rollback_without_a_former_champion_says_what_to_do(shelf: Shelf) -> None:
    shelf.ensure_baseline((420,))
    for horizon_s in (420, 86_400):
        with pytest.raises(ConfigError, match=r"no previous champion.*tickcast models promote"):
            shelf.rollback(horizon_s)
    assert shelf.champion_version(420) == "1"


def test_rollback_to_a_model_that_cannot_be_served_changes_nothing(shelf: Shelf) -> None:
    version = trained(shelf, 480)
    shelf.promote_by_hand(480, version)
    shelf.rollback(480)
    source = shelf._client.get_model_version(model_name(480), version).source
    (Path(str(source)) / TREES).unlink()
    with pytest.raises(ModelRefusedError):
        shelf.rollback(480)
    assert shelf.champion_version(480) == "1"


def test_unknown_version_says_where_to_look(shelf: Shelf) -> None:
    shelf.ensure_baseline((540,))
    with pytest.raises(ConfigError, match=r"tickcast-540s has no version 9.*tickcast models list"):
        shelf.promote_by_hand(540, "9")


def test_what_was_attached_is_read_back_by_alias(shelf: Shelf) -> None:
    version = trained(shelf, 600)
    assert shelf.attached(600, "challenger", "report.html") is None
    shelf.attach(600, version, "report.html", "<html>ü</html>")
    assert shelf.attached(600, "challenger", "report.html") == "<html>ü</html>".encode()
    assert shelf.attached(600, "champion", "report.html") is None
    assert shelf.attached(86_400, "champion", "report.html") is None


def test_old_reports_go_but_not_those_of_versions_with_an_alias(shelf: Shelf) -> None:
    versions = [trained(shelf, 660) for _ in range(5)]
    for version in versions:
        shelf.attach(660, version, REPORT, f"<html>{version}</html>")
    shelf.promote(660, versions[0])
    assert shelf.prune(660, REPORT, keep=2) == ["4", "3"], "the first two are champion and previous"
    held = {
        one.version: Path(one.artifacts.removeprefix("file://"), REPORT).exists()
        for one in shelf.versions()
        if one.horizon_s == 660
    }
    assert held == {"1": False, "2": True, "3": False, "4": False, "5": True, "6": True}
    assert shelf.attached(660, "champion", REPORT) == b"<html>2</html>"
    assert {one.version for one in shelf.versions() if PRUNED in one.tags} == {"3", "4"}
    assert shelf.checks(shelf.version(660, "3")) != [], "the verdict stays"
    assert shelf.prune(660, REPORT, keep=2) == []


def test_a_version_that_becomes_champion_while_old_reports_go_keeps_its_own(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [trained(shelf, 720) for _ in range(4)]
    for version in versions:
        shelf.attach(720, version, REPORT, "<html>")

    def promote_meanwhile(artifacts: str, name: str, uri: str) -> None:
        delete_artifact(artifacts, name, uri)
        if shelf.champion_version(720) == "1":
            shelf.promote(720, versions[0])

    monkeypatch.setattr("ml.registry.delete_artifact", promote_meanwhile)
    assert shelf.prune(720, REPORT, keep=1) == ["4", "3"]
    assert shelf.attached(720, "champion", REPORT) == b"<html>"
