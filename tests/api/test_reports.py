"""The report of a training over HTTP; an API without broker and store serves it all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.baseline import BaselineModel
from ml.model import Origin
from ml.registry import REPORT, Record, Registry
from ml.settings import MlSettings
from tables.clickhouse.settings import StoreSettings
from tests.api.stack import Api, running_api

ROOT = Path(__file__).parents[2]
PAGE = "<!DOCTYPE html><title>tickcast-300s</title><p>ü"


@pytest.fixture(scope="module")
def reporting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = tmp_path_factory.mktemp("reports")
    registry = Registry(MlSettings(home=home))
    registry.ensure_baseline((300,))
    version = registry.register(BaselineModel(Origin(300)), Record())
    registry.attach(300, version, REPORT, PAGE)
    nowhere = StoreSettings(clickhouse_url=f"local://{home}/none", store_connect_timeout_s=0.1)
    with running_api(home, "127.0.0.1:1", nowhere) as api:
        yield api


def test_newest_training_is_served_as_a_page_that_may_load_nothing_else(reporting: Api) -> None:
    answer = reporting.get("/v1/models/300/report")
    assert answer.status_code == 200
    assert answer.text == PAGE
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("horizon_s", "alias"), [(300, "champion"), (600, "challenger")])
def test_what_was_never_trained_is_a_problem_that_says_what_to_do(reporting: Api, horizon_s: int, alias: str) -> None:
    answer = reporting.get(f"/v1/models/{horizon_s}/report", alias=alias)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:tickcast:problem:no-report"
    assert "tickcast train" in answer.json()["detail"]


@pytest.mark.parametrize(("horizon_s", "alias"), [(300, "best"), (1, "champion")])
def test_wrong_parameters_are_problems(reporting: Api, horizon_s: int, alias: str) -> None:
    assert reporting.get(f"/v1/models/{horizon_s}/report", alias=alias).status_code == 400


def test_registry_that_is_away_is_503_until_it_is_back(
    reporting: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database" * 100)
    monkeypatch.setenv("TICKCAST_MLFLOW_URI", f"sqlite:///{broken}")
    for path in ("/v1/models/300/report", "/v1/models"):
        answer = reporting.get(path)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
    monkeypatch.delenv("TICKCAST_MLFLOW_URI")
    assert {reporting.get(path).status_code for path in ("/v1/models/300/report", "/v1/models")} == {200}


def test_the_api_process_loads_neither_mlflow_nor_catboost() -> None:
    code = (
        "import sys; from pathlib import Path; from api.routes.reports import _read; import api.server; "
        "from ml.registered import registered; from ml.settings import MlSettings; "
        "registered(MlSettings(home=Path(sys.argv[1]))); "
        "_read(Path(sys.argv[1]), 300, 'champion'); "
        "print([name for name in ('mlflow', 'catboost', 'pandas', 'optuna', 'plotly') if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKCAST_")}
    done = subprocess.run(
        [sys.executable, "-c", code, "/nowhere"], cwd=ROOT, capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
