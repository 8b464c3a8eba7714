"""Candles that reach a worker before it has asked its registry once: they wait, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

import agents.predictor
from agents.champions import ChampionWatch
from agents.stage import WorkerState
from ml.baseline import BaselineModel
from ml.model import WARM_UP_BARS, Origin
from ml.settings import MlSettings
from redpanda.topics import FEATURES, FORECASTS
from tables.records import Forecast
from tests.agents.test_corrections import Stages
from tests.support.samples import features

ROWS = [msgspec.json.encode(features(WARM_UP_BARS + at)) for at in range(3)]


class Early:
    """A predictor whose registry has not been asked yet."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stages = Stages(patch)
        self.watch = ChampionWatch(None, MlSettings(horizons_s=(60,)))  # type: ignore[arg-type]  # never asked
        self.app = self.stages._app()
        self.state = WorkerState()
        self.predictor = agents.predictor.PredictorStage(self.app, self.state, self.watch, {})

    def handle(self) -> Any:
        return self.predictor.handle(self.stages._chunk(FEATURES, ROWS))

    @property
    def made(self) -> Sequence[Forecast]:
        return [msgspec.json.decode(value, type=Forecast) for value in self.stages.sent[FORECASTS]]


def test_first_candles_wait_for_the_registry_and_all_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    early = Early(monkeypatch)

    async def run() -> None:
        task = asyncio.create_task(early.handle())
        await asyncio.wait({task}, timeout=0.1)
        assert not task.done()
        early.watch.models = {60: BaselineModel(Origin(60, "7", "champion"))}
        early.watch.has_looked = True
        await asyncio.wait_for(task, 30)

    asyncio.run(run())
    assert [one.model_version for one in early.made] == ["7"] * len(ROWS)
    assert early.state.counters["rows_without_model"] == 0


def test_first_candles_are_answered_by_the_stand_in_where_the_registry_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents.predictor, "_FIRST_LOOK_S", 0.05)
    early = Early(monkeypatch)
    asyncio.run(asyncio.wait_for(early.handle(), 30))
    assert [(one.model_version, "no-champion" in one.reasons) for one in early.made] == [("0", True)] * len(ROWS)


def test_registry_without_a_champion_leaves_the_candles_for_its_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    early = Early(monkeypatch)
    early.watch.has_looked = True
    asyncio.run(asyncio.wait_for(early.handle(), 30))
    assert (early.made, early.state.counters["rows_without_model"]) == ([], len(ROWS))
