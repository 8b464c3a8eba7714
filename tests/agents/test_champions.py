"""What serves while the registry changes, fails or lies: a real registry, looked at step by step on its own clock."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from agents import champions
from agents.champions import ChampionWatch
from agents.predictor import forecast
from ml import served
from ml.alias import Target
from ml.artefact import FORECASTER, TREES
from ml.errors import ModelRefusedError
from ml.model import WARM_UP_BARS, ForecastModel, Origin
from ml.registry import CHAMPION, Record, Registry, model_name
from ml.settings import MlSettings
from ml.trees import Trees, TreesModel
from redpanda.errors import UnreachableError
from tables.records import MINUTE_MS, Forecast
from tests.support.samples import START_MS, features
from tests.support.waiting import wait_for

NEXT_HORIZON_S = count(60, 60)


class CountingRegistry(Registry):
    """A real registry that counts how often an artefact is read."""

    asks = loads = 0

    def champion_target(self, horizon_s: int) -> Target | None:
        self.asks += 1
        return super().champion_target(horizon_s)

    def load(self, horizon_s: int, target: Target) -> ForecastModel:
        self.loads += 1
        return super().load(horizon_s, target)


class Desk:
    """A registry, a watch on it, and a horizon that no other test has."""

    def __init__(self, home: Path, uri: str = "") -> None:
        self.horizon_s = next(NEXT_HORIZON_S)
        self.settings = MlSettings(home=home, horizons_s=(self.horizon_s,), mlflow_uri=uri)
        self.registry = CountingRegistry(self.settings)
        self.now_s = 1_000.0
        self.watch = ChampionWatch(self.registry, self.settings, lambda: self.now_s)

    def look(self, after_s: float = 0.5) -> str:
        """Look once; gives the version in service, empty for none."""
        self.now_s += after_s
        self.watch.refresh()
        model = self.watch.models.get(self.horizon_s)
        return model.version if model else ""

    @property
    def problem(self) -> str:
        return str(self.watch.report(0)[str(self.horizon_s)]["problem"])

    def register(self, data_to_ms: int = START_MS) -> str:
        leaf = np.tile(np.array([-1.6, -0.6, 0.1, 0.7, 1.7]), (12, 1))
        trees = Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), leaf / 3, 1.0, np.zeros(5))
        return self.registry.register(
            TreesModel(Origin(self.horizon_s, source="sim", data_to_ms=data_to_ms), trees), Record()
        )

    def champion(self, data_to_ms: int = START_MS) -> str:
        """Make a new version the champion."""
        version = self.register(data_to_ms)
        self.registry.promote(self.horizon_s, version)
        return version

    def point(self, version: str) -> None:
        """Move the alias as anybody may, without proving anything."""
        self.registry._client.set_registered_model_alias(model_name(self.horizon_s), CHAMPION, version)

    def folder(self, version: str) -> Path:
        return Path(str(self.registry._client.get_model_version(model_name(self.horizon_s), version).source))

    def forecast(self, index: int = WARM_UP_BARS) -> Forecast:
        row = features(index)
        model = self.watch.models[self.horizon_s]
        made = forecast(row, model, row.open_ms + MINUTE_MS, standing=self.watch.standing(model))
        assert made is not None
        return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("champions")


@pytest.fixture
def desk(home: Path) -> Desk:
    return Desk(home)


def test_first_look_puts_the_champions_of_all_horizons_in_service_at_once(home: Path) -> None:
    """A candle that is answered for one horizon is not asked for another one later."""
    desks = [Desk(home), Desk(home)]
    wanted = {desk.horizon_s: desk.champion() for desk in desks}
    settings = MlSettings(home=home, horizons_s=tuple(wanted))
    seen: list[set[int]] = []

    class Watched(Registry):
        def load(self, horizon_s: int, target: Target) -> ForecastModel:
            seen.append(set(watch.models))
            return super().load(horizon_s, target)

    watch = ChampionWatch(Watched(settings), settings)
    watch.refresh()
    assert seen == [set(), set()]
    assert {horizon_s: model.version for horizon_s, model in watch.models.items()} == wanted


def test_new_champion_serves_after_the_next_look_and_is_read_once(desk: Desk) -> None:
    first = desk.champion()
    assert desk.look() == first
    second = desk.champion()
    assert [desk.look(), desk.look()] == [second, second]
    assert (desk.registry.loads, desk.problem) == (2, "")
    assert desk.forecast().trusted


def spoil(folder: Path, how: str) -> bytes:
    """Damage an artefact; gives what to write to the damaged file to mend it."""
    path = folder / (TREES if how in {"cut", "flip"} else FORECASTER)
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "flip":
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    else:
        path.write_text(json.dumps({**json.loads(whole), how: "0123456789ab"}))
    return whole


@pytest.mark.parametrize("how", ["cut", "flip", "feature_set", "input_set"])
def test_spoilt_champion_is_refused_told_and_not_read_again_and_again(desk: Desk, how: str) -> None:
    good = desk.champion()
    assert desk.look() == good
    bad = desk.champion()
    folder = desk.folder(bad)
    whole = spoil(folder, how)
    assert {desk.look() for _ in range(100)} == {good}
    assert desk.registry.loads == 2, "one look at the bad one in 50 s"
    assert f"version {bad} is refused" in desk.problem
    assert desk.forecast().trusted, "the last good model is as good as it was"
    (folder / (TREES if how in {"cut", "flip"} else FORECASTER)).write_bytes(whole)
    assert desk.look(champions.AGAIN_REFUSED_S) == bad
    assert desk.problem == ""


def test_refusal_of_one_version_does_not_delay_the_next_one(desk: Desk) -> None:
    good, bad = desk.champion(), desk.champion()
    spoil(desk.folder(bad), "cut")
    desk.point(good)
    assert desk.look() == good
    desk.point(bad)
    assert desk.look() == good
    desk.point(good)
    assert (desk.look(), desk.problem) == (good, "")
    desk.point(bad)
    assert (desk.look(), desk.registry.loads) == (good, 2)
    assert "is refused" in desk.problem
    better = desk.champion()
    assert (desk.look(), desk.problem) == (better, "")


def test_alias_that_moves_back_and_forth_is_followed_to_where_it_stands(desk: Desk) -> None:
    versions = [desk.register(), desk.register()]
    for at in (0, 1, 1, 0, 1, 0, 0):
        desk.point(versions[at])
        assert desk.look() == versions[at]
    for at in (1, 0, 1):
        desk.point(versions[at])
    assert desk.look() == versions[1]


def test_alias_that_is_deleted_leaves_its_model_in_service_and_is_told(desk: Desk) -> None:
    version = desk.champion()
    desk.look()
    desk.registry._client.delete_registered_model_alias(model_name(desk.horizon_s), CHAMPION)
    assert desk.look(1_000.0) == version
    assert "has no champion" in desk.problem
    assert desk.forecast().trusted


@pytest.mark.parametrize("how", ["garbage", "gone"])
def test_registry_that_is_away_leaves_the_last_good_model_and_is_followed_when_it_is_back(
    tmp_path: Path, how: str
) -> None:
    desk = Desk(tmp_path)
    version = desk.champion()
    desk.look()
    newer = desk.champion()
    del desk.registry.__dict__["_client"]  # MLflow's pool would hold the file open
    path, aside = tmp_path / "mlflow" / "registry.db", tmp_path / "aside"
    path.rename(aside)
    if how == "garbage":
        path.write_bytes(b"not a database" * 1_000)
    assert desk.look() == version
    assert ("TICKCAST_MLFLOW_URI" if how == "garbage" else "no champion") in desk.problem
    made = desk.forecast()
    assert (made.trusted, made.model_version) == (True, version)
    aside.rename(path)
    assert (desk.look(), desk.problem) == (newer, "")


def test_model_expires_while_the_registry_is_away_and_forecasts_go_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    version = desk.champion(START_MS + WARM_UP_BARS * MINUTE_MS)
    desk.look()
    (tmp_path / "mlflow" / "registry.db").write_bytes(b"not a database" * 1_000)
    life = desk.settings.model_life_ms // MINUTE_MS
    last = desk.forecast(WARM_UP_BARS + life - 1)
    late = desk.forecast(WARM_UP_BARS + life)
    assert (desk.look(), last.trusted, late.trusted, late.reasons) == (version, True, False, ["model-expired"])
    told = desk.watch.report(late.feature_open_ms + MINUTE_MS)[str(desk.horizon_s)]
    assert (told["expired"], told["expires_at_ms"]) == (True, late.feature_open_ms + MINUTE_MS)
    assert desk.watch.report(late.feature_open_ms)[str(desk.horizon_s)]["expired"] is False


def test_start_without_a_registry_forecasts_at_once_and_says_that_it_is_a_stand_in(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"not a database" * 1_000)
    desk = Desk(tmp_path, f"sqlite:///{tmp_path / 'other.db'}")
    assert desk.look() == "0"
    made = desk.forecast()
    assert (made.trusted, made.reasons, made.model, made.model_alias) == (False, ["no-champion"], "ewma-vol", "")
    (tmp_path / "other.db").unlink()
    version = desk.champion()
    assert (desk.look(), desk.problem) == (version, "")
    assert desk.forecast().trusted


def test_empty_registry_gets_time_for_its_first_champion(desk: Desk) -> None:
    assert desk.look() == ""
    assert desk.look(champions.PATIENCE_S - 1) == ""
    assert desk.look() == "0"
    version = desk.champion()
    assert desk.look() == version


def test_trouble_of_one_horizon_is_none_of_the_others(home: Path) -> None:
    short, long = Desk(home), Desk(home)
    bad, good = short.champion(), long.champion()
    spoil(short.folder(bad), "cut")
    both = MlSettings(home=home, horizons_s=(short.horizon_s, long.horizon_s))
    watch = ChampionWatch(Registry(both), both)
    watch.refresh()
    assert {horizon_s: model.version for horizon_s, model in watch.models.items()} == {
        short.horizon_s: "0",
        long.horizon_s: good,
    }
    problems = {horizon_s: told["problem"] for horizon_s, told in watch.report(0).items()}
    assert problems[str(long.horizon_s)] == ""
    assert "is refused" in str(problems[str(short.horizon_s)])
    with pytest.raises(ModelRefusedError):
        Registry(both).champion(short.horizon_s)


def test_registry_that_is_away_is_asked_once_a_look_not_once_a_horizon(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"not a database" * 1_000)
    settings = MlSettings(home=tmp_path, horizons_s=(60, 300, 900), mlflow_uri=f"sqlite:///{tmp_path / 'other.db'}")
    registry = CountingRegistry(settings)
    watch = ChampionWatch(registry, settings)
    watch.refresh()
    assert registry.asks == 1
    assert {model.version for model in watch.models.values()} == {"0"}
    assert len({str(told["problem"]) for told in watch.report(0).values()}) == 1


def test_report_names_model_age_and_last_answer(desk: Desk) -> None:
    version = desk.champion()
    desk.look()
    told = desk.watch.report(START_MS)[str(desk.horizon_s)]
    answered_ms = told.pop("registry_answered_at_ms")
    assert isinstance(answered_ms, int)
    assert told == {
        "model": TreesModel.name,
        "version": version,
        "alias": "champion",
        "source": "sim",
        "data_to_ms": START_MS,
        "expires_at_ms": START_MS + MINUTE_MS + desk.settings.model_life_ms,
        "expired": False,
        "problem": "",
    }


def test_question_that_is_open_for_long_is_told_before_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "ASK_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        desk = Desk(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        thread = threading.Thread(target=desk.watch.refresh)
        thread.start()
        wait_for(lambda: desk.watch._asked_s is not None)
        assert desk.problem == ""
        desk.now_s += champions.SILENCE_S + 1
        silence = "the model registry has not answered for 4 s"
        assert (desk.problem, desk.watch.has_looked) == (silence, False)
        thread.join()
    assert "did not answer" in desk.problem
    assert desk.watch.has_looked
    assert desk.watch.models[desk.horizon_s].version == "0"


class NotMlflow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>not a registry</html>")

    def log_message(self, *_: object) -> None:
        pass


def test_server_that_is_no_registry_is_a_registry_that_is_away(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), NotMlflow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        desk = Desk(tmp_path, f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(UnreachableError, match="TICKCAST_MLFLOW_URI"):
            desk.registry.champion_version(desk.horizon_s)
        assert desk.look() == "0"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
