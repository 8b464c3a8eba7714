from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ml.alias import MlflowAliases
from ml.artefact import FORECASTER, TREES
from ml.baseline import BaselineModel
from ml.errors import ModelRefusedError
from ml.input_drift import Reference
from ml.inputs import INPUT_NAMES
from ml.model import Origin
from ml.registry import CHALLENGER, CHAMPION, PREVIOUS, Record, Registry, model_name
from ml.settings import MlSettings
from ml.trees import Trees, TreesModel
from redpanda.errors import ConfigError, UnreachableError
from tables.features.catalog import FEATURE_SET

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one registry to all tests of this file: each test has a horizon of its own."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def registry(home: Path) -> Registry:
    return Registry(MlSettings(home=home))


def forest(value: float = 1.0) -> Trees:
    leaf = np.tile(np.array([-1.6, -0.6, 0.1, 0.7, 1.7]) * value, (12, 1))
    return Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), leaf / 3, 1.0, np.zeros(5))


def champion_folder(registry: Registry, horizon_s: int) -> Path:
    target = registry._aliases.target(model_name(horizon_s), CHAMPION)
    assert target is not None
    return Path(target.source)


def test_empty_registry_has_no_champion_and_reading_creates_nothing(tmp_path: Path) -> None:
    empty = Registry(MlSettings(home=tmp_path))
    assert empty.champion(60) is None
    assert empty.champion_version(60) is None
    assert list(tmp_path.iterdir()) == []


def test_baseline_is_the_first_champion_and_only_once(registry: Registry) -> None:
    assert registry.ensure_baseline((60, 120)) == [60, 120]
    assert registry.ensure_baseline((60, 120)) == []
    champion = registry.champion(60)
    assert isinstance(champion, BaselineModel)
    assert (champion.version, champion.alias, champion.horizon_s) == ("1", "champion", 60)
    assert champion.feature_set == FEATURE_SET


def test_promotion_moves_the_champion_and_keeps_the_former(registry: Registry) -> None:
    registry.ensure_baseline((180,))
    model = TreesModel(
        Origin(180, source="sim", data_to_ms=1_526_169_600_000), forest(), np.array([-0.1, 0, 0, 0, 0.1]), 0.5
    )
    version = registry.register(
        model, Record(tags={"source": "sim"}, metrics={"skill": 0.01}, verdict={"promote": True})
    )
    assert registry.champion_version(180) == "1", "registering serves nothing"
    registry.promote(180, version)
    champion = registry.champion(180)
    assert isinstance(champion, TreesModel)
    x = np.random.default_rng(0).normal(size=(50, len(INPUT_NAMES))).astype(np.float32)
    assert champion.scaled(x).tobytes() == model.scaled(x).tobytes()
    assert champion.origin == Origin(180, version, CHAMPION, FEATURE_SET, "sim", 1_526_169_600_000)
    aliases = registry._client.get_registered_model(model_name(180)).aliases
    assert {name: str(number) for name, number in aliases.items()} == {
        CHAMPION: "2",
        PREVIOUS: "1",
        CHALLENGER: "2",
    }
    tags = registry._client.get_model_version(model_name(180), version).tags
    assert tags["feature_set"] == FEATURE_SET
    assert tags["source"] == "sim"
    assert tags["code"]


def test_the_short_way_to_an_alias_answers_as_mlflow_does(registry: Registry) -> None:
    registry.ensure_baseline((240,))
    slow = MlflowAliases(registry._client)
    for alias in (CHAMPION, PREVIOUS):
        assert registry._aliases.target(model_name(240), alias) == slow.target(model_name(240), alias)
    assert slow.target(model_name(86_400), CHAMPION) is None


@pytest.mark.parametrize("spoil", ["cut", "flip", "gone", "answers", "json", "folder"])
def test_spoilt_artefact_is_refused_with_the_next_step(registry: Registry, spoil: str) -> None:
    horizon_s = 60 * (100 + ["cut", "flip", "gone", "answers", "json", "folder"].index(spoil))
    version = registry.register(TreesModel(Origin(horizon_s), forest()), Record())
    registry.promote(horizon_s, version)
    folder = champion_folder(registry, horizon_s)
    whole = (folder / TREES).read_bytes()
    if spoil == "cut":
        (folder / TREES).write_bytes(whole[: len(whole) // 2])
    elif spoil == "flip":
        (folder / TREES).write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    elif spoil == "gone":
        (folder / TREES).unlink()
    elif spoil == "answers":
        content = json.loads((folder / FORECASTER).read_bytes())
        content["offsets"][0] -= 1e-3
        (folder / FORECASTER).write_text(json.dumps(content))
    elif spoil == "json":
        (folder / FORECASTER).write_text("{")
    else:
        shutil.rmtree(folder)
    with pytest.raises(ModelRefusedError, match=rf"tickcast-{horizon_s}s version {version} is refused.*tickcast train"):
        registry.champion(horizon_s)
    assert registry.ensure_baseline((horizon_s,)) == [horizon_s], "the next start mends it"
    assert isinstance(registry.champion(horizon_s), BaselineModel)


@pytest.mark.parametrize(
    ("key", "what"), [("feature_set", "feature set"), ("input_set", "input set"), ("horizon_s", "horizon_s")]
)
def test_model_of_other_features_is_refused(registry: Registry, key: str, what: str) -> None:
    horizon_s = 60 * (200 + len(key))
    version = registry.register(BaselineModel(Origin(horizon_s)), Record())
    registry.promote(horizon_s, version)
    path = champion_folder(registry, horizon_s) / FORECASTER
    content = json.loads(path.read_bytes())
    content[key] = "0123456789ab" if key != "horizon_s" else 7
    path.write_text(json.dumps(content))
    with pytest.raises(ModelRefusedError, match=what):
        registry.champion(horizon_s)


def test_trees_that_do_not_say_how_old_they_are_have_expired_and_a_baseline_never_does(registry: Registry) -> None:
    registry.ensure_baseline((540,))
    baseline = registry.champion(540)
    assert baseline is not None
    assert baseline.expires_at_ms(1) is None
    registry.promote(540, registry.register(TreesModel(Origin(540), forest()), Record()))
    path = champion_folder(registry, 540) / FORECASTER
    content = json.loads(path.read_bytes())
    del content["data_to_ms"]  # as written by an earlier version of this program
    path.write_text(json.dumps(content))
    trees = registry.champion(540)
    assert trees is not None
    assert trees.expires_at_ms(1) == 60_001


def test_training_inputs_of_each_pair_come_back_with_the_model(registry: Registry) -> None:
    x = np.random.default_rng(1).normal(size=(200, len(INPUT_NAMES))).astype(np.float32)
    x[:20, 3] = np.nan
    references = {"BTC/USD": Reference.of(x), "ETH/USD": Reference.of(x * 2)}
    registry.promote(600, registry.register(TreesModel(Origin(600, references=references), forest()), Record()))
    champion = registry.champion(600)
    assert champion is not None
    assert champion.origin.references == references


def test_a_version_that_cannot_be_served_is_not_promoted(registry: Registry) -> None:
    registry.ensure_baseline((420,))
    version = registry.register(TreesModel(Origin(420), forest()), Record())
    source = registry._client.get_model_version(model_name(420), version).source
    (Path(str(source)) / TREES).unlink()
    with pytest.raises(ModelRefusedError):
        registry.promote(420, version)
    assert registry.champion_version(420) == "1"


def test_file_store_is_refused_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TICKCAST_MLFLOW_URI.*sqlite"):
        Registry(MlSettings(home=tmp_path, mlflow_uri=f"file://{tmp_path}/mlruns"))


def test_file_that_is_no_database_is_unreachable(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(b"not a database" * 100)
    broken = Registry(MlSettings(home=tmp_path, mlflow_uri=f"sqlite:///{path}"))
    with pytest.raises(UnreachableError, match="TICKCAST_MLFLOW_URI"):
        broken.champion_version(60)
    with pytest.raises(UnreachableError, match="TICKCAST_MLFLOW_URI"):
        broken.ensure_baseline((60,))


def test_database_in_creation_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    sqlite3.connect(tmp_path / "mlflow" / "registry.db").close()
    assert Registry(MlSettings(home=tmp_path)).champion_version(60) is None


ENSURE = """
import socket, sys
from pathlib import Path

def refuse(self, address):
    raise AssertionError(f"a call to {address}")

socket.socket.connect = refuse
socket.getaddrinfo = lambda *a, **k: refuse(None, a)
from ml.registry import Registry
from ml.settings import MlSettings
registry = Registry(MlSettings(home=Path(sys.argv[1])))
made = registry.ensure_baseline((60, 300, 900))
print(made, [registry.champion(h).version for h in (60, 300, 900)])
"""

READ = """
import sys
from pathlib import Path
from ml.registry import Registry
from ml.settings import MlSettings
registry = Registry(MlSettings(home=Path(sys.argv[1])))
assert registry.champion(int(sys.argv[2])) is not None
print([name for name in ("mlflow", "catboost", "pandas", "sqlalchemy", "optuna") if name in sys.modules])
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_make_one_baseline_without_any_network(tmp_path: Path) -> None:
    runs = [python(ENSURE, str(tmp_path)) for _ in range(2)]
    ends = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], [err for _, err in ends]
    assert sorted(out.strip() for out, _ in ends) == [
        "[60, 300, 900] ['1', '1', '1']",
        "[] ['1', '1', '1']",
    ]
    assert [err for _, err in ends] == ["", ""], "MLflow keeps quiet"


def test_reader_needs_neither_mlflow_nor_catboost(registry: Registry, home: Path) -> None:
    version = registry.register(TreesModel(Origin(480), forest()), Record())
    registry.promote(480, version)
    run = python(READ, str(home), "480")
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out.strip()) == (0, "[]"), err
