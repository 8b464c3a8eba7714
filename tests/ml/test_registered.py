from __future__ import annotations

from pathlib import Path

import pytest

from ml.baseline import BaselineModel
from ml.model import Origin
from ml.registered import Registered, _of_version, registered
from ml.registry import REPORT, Record
from ml.settings import MlSettings
from ml.versions import Shelf
from redpanda.errors import UnreachableError


def test_the_file_tells_the_same_as_mlflow(tmp_path: Path) -> None:
    settings = MlSettings(home=tmp_path)
    shelf = Shelf(settings)
    shelf.ensure_baseline((60, 300))
    tags = {"kind": "ewma-vol", "data_from_ms": "1000", "data_to_ms": "2000", "verdict": "promote"}
    version = shelf.register(BaselineModel(Origin(300)), Record(tags=tags))
    shelf.attach(300, version, REPORT, "<html>")
    shelf.register(BaselineModel(Origin(300)), Record(tags=tags), alias="")
    shelf.promote(300, version)

    found = registered(settings)
    asked = [_of_version(one) for one in shelf.versions()]
    without_report = {(row.horizon_s, row.version): _but_report(row) for row in found}
    assert without_report == {(row.horizon_s, row.version): _but_report(row) for row in asked}

    assert [(row.horizon_s, row.version, row.aliases, row.has_report) for row in found] == [
        (60, "1", ["champion"], False),
        (300, "3", [], False),
        (300, "2", ["challenger", "champion"], True),
        (300, "1", ["previous"], False),
    ]
    assert (found[2].trained_from_ms, found[2].trained_to_ms, found[2].verdict) == (1000, 2000, "promote")
    assert (found[0].trained_from_ms, found[0].verdict, found[0].model) == (None, "", "ewma-vol")


def _but_report(row: Registered) -> tuple[object, ...]:
    return (*(getattr(row, name) for name in Registered.__struct_fields__ if name != "has_report"),)


def test_registry_that_is_not_there_yet_has_no_models_and_is_not_made(tmp_path: Path) -> None:
    assert registered(MlSettings(home=tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_registry_that_cannot_be_read_says_what_to_check(tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UnreachableError, match="TICKCAST_MLFLOW_URI"):
        registered(MlSettings(home=tmp_path, mlflow_uri=f"sqlite:///{tmp_path / 'broken.db'}"))
