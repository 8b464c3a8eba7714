"""The registry as a real MLflow server that serves the artefacts, too: swap, a hang, a kill, spoilt artefacts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.alias import MlflowAliases
from ml.artefact import FORECASTER, TREES
from ml.baseline import BaselineModel
from ml.errors import ModelRefusedError
from ml.model import Origin
from ml.registry import CHAMPION, REPORT, Record, Registry, model_name
from ml.served import ServedRegistry
from ml.settings import MlSettings
from ml.trees import TreesModel
from redpanda.settings import BrokerSettings
from tests.ml.test_registry import python
from tests.support.mlflow_server import MlflowServer
from tests.support.model_stage import HORIZONS_S, Stage, forecast_broker
from tests.support.waiting import wait_for

pytest.importorskip("flask", reason="`mlflow server` needs flask, flask-cors, graphene and huey beside mlflow-skinny")
pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["forecast_broker"]

SWAPS = 4
STOP_S = 12.0
READ_SERVED = """
import sys
from ml.registry import Registry
from ml.settings import MlSettings
registry = Registry(MlSettings(mlflow_uri=sys.argv[1]))
assert registry.champion(60) is not None
print([name for name in ("mlflow", "catboost", "pandas", "sqlalchemy", "requests") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    made = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, forecast_broker: BrokerSettings, server: MlflowServer
) -> Iterator[Stage]:
    """Broker, worker and flow of all tests of this file: each looks at the candles of its own time."""
    made = Stage(tmp_path_factory.mktemp("stage"), forecast_broker, server.uri)
    try:
        made.registry.ensure_baseline(HORIZONS_S)
        made.live()
        made.flow.start()
        made.wait_well("1")
        yield made
    finally:
        made.close()


def served(stage: Stage) -> str:
    """Make a new champion and wait for it."""
    version = stage.register()
    stage.registry.promote(60, version)
    stage.flow.first_of(version, 60)
    return version


def test_swap_by_a_server_is_in_the_forecasts_within_a_second(stage: Stage) -> None:
    since = stage.more()
    version, lags_ms = stage.swaps(SWAPS)
    print(f"\nalias moved at the server to first forecast of the new version: {lags_ms} ms")
    stage.more()
    assert stage.versions_once(since) >= {version}
    assert max(lags_ms) < 1_000
    stage.wait_well(version)


def test_plain_http_gives_what_mlflow_gives(stage: Stage) -> None:
    version = served(stage)
    plain, slow = stage.registry._aliases, MlflowAliases(stage.registry._client)
    assert isinstance(plain, ServedRegistry)
    for name, alias in ((model_name(60), CHAMPION), (model_name(60), "nobody"), (model_name(86_400), CHAMPION)):
        assert plain.target(name, alias) == slow.target(name, alias)
    target = stage.registry.champion_target(60)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        by_mlflow = stage.registry._load_by_mlflow(60, target, CHAMPION, folder)
    champion = stage.registry.champion(60)
    assert isinstance(champion, TreesModel)
    assert isinstance(by_mlflow, TreesModel)
    assert champion.origin == by_mlflow.origin
    assert (champion.version, champion.origin.source) == (version, "sim")
    assert champion.trees.to_npz() == by_mlflow.trees.to_npz()
    run = python(READ_SERVED, stage.registry.uri)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out.strip()) == (0, "[]"), err


def test_server_that_hangs_holds_up_neither_forecasts_nor_the_end_of_the_worker(
    stage: Stage, server: MlflowServer
) -> None:
    version = served(stage)
    server.hang()
    try:
        stage.wait_told("did not answer")
        since = stage.more()
        assert stage.versions_once(since) == {version}
        assert all(one.trusted for one in stage.forecasts_once(since))
        worst_ms = stage.flow.worst_delay_ms(stage.forecasts_once(since))
        print(f"\nworst delay of a forecast while the server hangs: {worst_ms} ms")
        assert worst_ms < 1_000
        began_s = time.monotonic()
        stage.worker.stop()
        print(f"the worker has stopped after {time.monotonic() - began_s:.1f} s")
        assert (stage.worker.exit_code, time.monotonic() - began_s < STOP_S) == (0, True)
    finally:
        server.go_on()
    stage.live()
    stage.wait_well(version)


def test_start_with_a_server_that_hangs_is_answered_by_a_stand_in(stage: Stage, server: MlflowServer) -> None:
    version = served(stage)
    stage.worker.stop()
    server.hang()
    try:
        since = stage.more(1)
        stage.live()
        stage.wait_told("did not answer")
        found = stage.flow.answers(HORIZONS_S, since)
        assert found.missed == []
        assert {tuple(one.reasons) for one in found.forecasts} <= {("no-champion",), ("stale", "no-champion")}
    finally:
        server.go_on()
    stage.wait_well(version)


def test_server_that_is_killed_leaves_the_last_good_model_and_is_followed_when_it_is_back(
    stage: Stage, server: MlflowServer
) -> None:
    version = served(stage)
    server.kill()
    stage.wait_told("did not answer")
    since = stage.more()
    assert stage.versions_once(since) == {version}
    assert all(one.trusted for one in stage.forecasts_once(since))
    server.start()
    stage.wait_well(version)
    assert served(stage) != version


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_artefact_that_the_server_cannot_give_whole_is_not_fetched_again_and_again(
    stage: Stage, server: MlflowServer, how: str
) -> None:
    good, bad = served(stage), stage.register()
    path = artefact(stage, server, bad) / (TREES if how == "cut" else FORECASTER)
    path.write_bytes(path.read_bytes()[:100]) if how == "cut" else path.unlink()
    stage.point(bad)
    stage.wait_told(f"version {bad} is refused")
    since = stage.more(200)
    assert stage.versions_once(since) == {good}
    fetches = server.log.count(f"{path.parent.parent.parent.name}/artifacts/model/{TREES}")
    assert fetches <= 2, "by the worker and not every second"
    with pytest.raises(ModelRefusedError):
        stage.registry.promote(60, bad)
    better = served(stage)
    stage.wait_well(better)


def artefact(stage: Stage, server: MlflowServer, version: str) -> Path:
    """Find a version's artefact in the folder of the server."""
    run_id = stage.registry._client.get_model_version(model_name(60), version).run_id
    return wait_for(lambda: next((server.folder / "artifacts").glob(f"*/{run_id}/artifacts/model"), None))


def test_old_reports_are_deleted_on_the_server(server: MlflowServer, tmp_path: Path) -> None:
    registry = Registry(MlSettings(home=tmp_path, mlflow_uri=server.uri))
    versions = [registry.register(BaselineModel(Origin(720)), Record(), alias="") for _ in range(3)]
    for version in versions:
        registry.attach(720, version, REPORT, "<html>")
    assert registry.prune(720, REPORT, keep=1) == [versions[1], versions[0]]

    def has_report(version: str) -> bool:
        run_id = registry._client.get_model_version(model_name(720), version).run_id
        return REPORT in {one.path for one in registry._client.list_artifacts(str(run_id))}

    assert [has_report(version) for version in versions] == [False, False, True]
