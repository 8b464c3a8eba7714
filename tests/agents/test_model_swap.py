"""A real worker forecasts candles at a pace while its model registry changes, lies and goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ml.artefact import FORECASTER, TREES
from ml.registry import CHAMPION, model_name
from redpanda.settings import BrokerSettings
from tables.records import MINUTE_MS, ModelInService
from tests.support.model_stage import HORIZONS_S, Stage, forecast_broker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["forecast_broker"]

SWAPS = 5


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, forecast_broker: BrokerSettings) -> Iterator[Stage]:
    """Broker, worker and flow of all tests of this file: each looks at the candles of its own time."""
    made = Stage(tmp_path_factory.mktemp("stage"), forecast_broker)
    try:
        made.registry.ensure_baseline(HORIZONS_S)
        made.live()
        made.flow.start()
        yield made
    finally:
        made.close()


class Away:
    """Takes the files of a sqlite registry away, and brings them back."""

    def __init__(self, stage: Stage) -> None:
        self._folder = stage.home / "mlflow"
        self._aside = stage.home / "aside"
        del stage.registry.__dict__["_client"]  # its pool would hold the files

    def __enter__(self) -> Path:
        self._aside.mkdir()
        for path in self._folder.glob("registry.db*"):
            path.rename(self._aside / path.name)
        return self._folder / "registry.db"

    def __exit__(self, *_: object) -> None:
        (self._folder / "registry.db").unlink(missing_ok=True)
        for path in self._aside.iterdir():
            path.rename(self._folder / path.name)
        self._aside.rmdir()


def test_swap_is_in_the_forecasts_within_a_second_and_no_candle_is_missed_or_answered_twice(stage: Stage) -> None:
    since = stage.more()
    _, lags_ms = stage.swaps(SWAPS)
    print(f"\nalias moved to first forecast of the new version: {lags_ms} ms")
    stage.more()
    by_pair: dict[str, list[tuple[int, int]]] = {}
    for one in stage.forecasts_once(since):
        if one.horizon_s == 60:
            by_pair.setdefault(one.pair, []).append((one.feature_open_ms, int(one.model_version)))
        else:
            assert one.model_version == "1", "the other horizon goes on undisturbed"
    for pair in by_pair.values():
        versions = [version for _, version in sorted(pair)]
        assert versions == sorted(versions), "no candle goes back to the model before"
    assert max(lags_ms) < 1_000


def test_topic_models_tells_each_swap_once(stage: Stage) -> None:
    last = stage.register()
    moved_ms = stage.point(last)
    stage.flow.first_of(last, 60)

    def told() -> list[ModelInService]:
        found = [one for one in stage.models_told() if one.horizon_s == 60]
        return found if found and found[-1].model_version == last else []

    found = wait_for(told, 60)
    assert [a for a, b in pairwise(found) if a.model_version == b.model_version] == [], "one record a swap"
    newest = found[-1]
    assert (newest.model_alias, newest.source, newest.data_to_ms) == ("champion", "sim", stage.flow.first_open_ms)
    assert newest.expires_at_ms == stage.flow.first_open_ms + MINUTE_MS + stage.settings.model_life_ms
    assert newest.at_ms >= moved_ms
    status = stage.worker.status()
    assert status is not None
    assert newest.worker.endswith(f":{status.pid}")


@pytest.mark.parametrize(("how", "said"), [("gone", "has no champion"), ("garbage", "cannot be read")])
def test_without_the_registry_the_last_good_model_goes_on_trusted_until_it_is_back(
    stage: Stage, how: str, said: str
) -> None:
    version, newer = stage.register(), stage.register()
    stage.point(version)
    stage.flow.first_of(version, 60)
    with Away(stage) as path:
        if how == "garbage":
            path.write_bytes(b"not a database" * 1_000)
        stage.wait_told(said)
        since = stage.more()
        assert stage.versions_once(since) == {version}
        assert all(one.trusted for one in stage.forecasts_once(since))
        assert stage.told()["version"] == version
    stage.point(newer)
    stage.flow.first_of(newer, 60)
    stage.wait_well(newer)


@pytest.mark.parametrize("how", ["cut", "flip", "feature_set", "input_set"])
def test_champion_that_may_not_serve_is_refused_and_the_one_before_stays(stage: Stage, how: str) -> None:
    good, bad = stage.register(), stage.register()
    stage.point(good)
    stage.flow.first_of(good, 60)
    folder = stage.artefact(bad)
    if how in {"cut", "flip"}:
        whole = (folder / TREES).read_bytes()
        cut, flipped = whole[: len(whole) // 2], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
        (folder / TREES).write_bytes(cut if how == "cut" else flipped)
    else:
        content = json.loads((folder / FORECASTER).read_bytes())
        (folder / FORECASTER).write_text(json.dumps({**content, how: "0123456789ab"}))
    stage.point(bad)
    stage.wait_told(f"version {bad} is refused")
    since = stage.more()
    assert stage.versions_once(since) == {good}
    log = (stage.home / "worker.log").read_text()
    assert log.count(f"version {bad} is refused") == 1, "said once, not every second"


def test_alias_that_flickers_or_is_deleted_ends_where_it_stood_last(stage: Stage) -> None:
    one, other = stage.register(), stage.register()
    since = stage.more(1)
    for _ in range(10):
        stage.point(one)
        stage.point(other)
    stage.flow.first_of(other, 60)
    stage.registry._client.delete_registered_model_alias(model_name(60), CHAMPION)
    stage.wait_told("has no champion")
    late = stage.more()
    assert stage.versions_once(late) == {other}
    stage.forecasts_once(since)


def test_forecasts_of_a_model_that_gets_too_old_go_on_untrusted(stage: Stage) -> None:
    since = stage.more(1)
    life_ms = stage.settings.model_life_ms
    expires_ms = stage.flow.newest_open_ms + 60 * MINUTE_MS
    version = stage.register(data_to_ms=expires_ms - life_ms - MINUTE_MS)
    stage.point(version)
    stage.flow.first_of(version, 60)
    stage.flow.wait_for_candle(expires_ms + 10 * MINUTE_MS)
    made = [one for one in stage.forecasts_once(since) if one.model_version == version]
    for one in made:
        expired = one.feature_open_ms + MINUTE_MS >= expires_ms
        assert (one.trusted, one.reasons) == (not expired, ["model-expired"] if expired else [])
    assert {one.trusted for one in made} == {True, False}
    assert stage.told()["expires_at_ms"] == expires_ms


def test_start_without_a_registry_is_answered_by_a_stand_in_until_it_is_back(stage: Stage) -> None:
    version = stage.register()
    stage.point(version)
    stage.worker.stop()
    with Away(stage) as path:
        path.write_bytes(b"not a database" * 1_000)
        since = stage.more(1)
        stage.live()
        stage.wait_told("cannot be read")
        found = stage.flow.answers(HORIZONS_S, since)
        assert found.missed == []
        assert {(one.model, one.model_version, one.trusted) for one in found.forecasts} == {("ewma-vol", "0", False)}
        assert {tuple(one.reasons) for one in found.forecasts} == {("no-champion",)}
    stage.flow.first_of(version, 60)
    stage.wait_well(version)
