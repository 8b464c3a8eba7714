"""A real worker that forecasts candles as they flow, by the champions of a real registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ml.model import Origin
from ml.registry import CHAMPION, Record, Registry, model_name
from ml.settings import MlSettings
from ml.trees import Trees, TreesModel
from redpanda.admin import apply, connect
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import MODELS
from tables.records import Forecast, ModelInService
from tests.support.forecast_flow import CandleFlow
from tests.support.waiting import wait_for
from tests.support.worker import Worker, everything

__all__ = ["HORIZONS_S", "Stage", "forecast_broker"]

HORIZONS_S = (60, 300)


class Stage:
    """Broker, worker, registry, and candles that flow."""

    def __init__(self, home: Path, broker: BrokerSettings, mlflow_uri: str = "") -> None:
        self.home = home
        self._broker = broker
        self.settings = MlSettings(home=home, horizons_s=HORIZONS_S, mlflow_uri=mlflow_uri)
        self.registry = Registry(self.settings)
        self.worker = Worker(
            home,
            broker.broker_url,
            stages="predictor",
            TICKCAST_HORIZONS_S=",".join(map(str, HORIZONS_S)),
            TICKCAST_MLFLOW_URI=mlflow_uri,
        )
        self.flow = CandleFlow(broker)

    def close(self) -> None:
        self.flow.close()
        self.worker.close()

    def register(self, horizon_s: int = 60, data_to_ms: int = 0) -> str:
        """Register trees; unless told otherwise their data end where the candles begin."""
        leaf = np.tile(np.array([-1.6, -0.6, 0.1, 0.7, 1.7]), (12, 1))
        trees = Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), leaf / 3, 1.0, np.zeros(5))
        origin = Origin(horizon_s, source="sim", data_to_ms=data_to_ms or self.flow.first_open_ms)
        return self.registry.register(TreesModel(origin, trees), Record())

    def point(self, version: str, horizon_s: int = 60) -> int:
        """Move the champion alias; gives the time just before (ms)."""
        before_ms = time.time_ns() // 1_000_000
        self.registry._client.set_registered_model_alias(model_name(horizon_s), CHAMPION, version)
        return before_ms

    def swaps(self, count: int) -> tuple[str, list[int]]:
        """Promote new versions one after the other; gives the last, and ms from alias to first forecast of each."""
        version, lags_ms = "", []
        for _ in range(count):
            version = self.register()
            moved_ms = self.point(version)
            lags_ms.append(self.flow.first_of(version, 60).made_at_ms - moved_ms)
        return version, sorted(lags_ms)

    def told(self, horizon_s: int = 60) -> dict[str, object]:
        """Give what the worker's status says of a horizon."""
        status = self.worker.status()
        models = status.detail.get("models") if status else None
        return models.get(str(horizon_s), {}) if isinstance(models, dict) else {}

    def wait_told(self, part: str) -> None:
        wait_for(lambda: part in str(self.told().get("problem")), 60)

    def wait_well(self, version: str) -> None:
        """Wait until the status names the version, and no trouble: it is written once a second."""
        wait_for(lambda: (self.told().get("version"), self.told().get("problem")) == (version, ""), 60)

    def more(self, candles: int = 50) -> int:
        """Wait for more candles; gives how many there were before."""
        before = len(self.flow.candles)
        wait_for(lambda: len(self.flow.candles) >= before + candles, 60)
        return before

    def artefact(self, version: str) -> Path:
        return Path(str(self.registry._client.get_model_version(model_name(60), version).source))

    def forecasts_once(self, since: int = 0) -> list[Forecast]:
        """Give the forecasts of all candles from number `since` on: one of each candle and horizon."""
        found = self.flow.answers(HORIZONS_S, since)
        assert (found.missed, found.doubled) == ([], [])
        assert found.forecasts
        return found.forecasts

    def models_told(self) -> list[ModelInService]:
        """Give what topic `models` holds, in order."""
        return [msgspec.json.decode(value, type=ModelInService) for value in everything(self._broker, MODELS)]

    def versions_once(self, since: int, horizon_s: int = 60) -> set[str]:
        """Give the versions that answered those candles."""
        return {one.model_version for one in self.forecasts_once(since) if one.horizon_s == horizon_s}

    def live(self) -> None:
        """Start the worker."""
        self.worker.start()
        wait_for(self.worker.is_live, 90)


@pytest.fixture(scope="module")
def forecast_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerSettings]:
    """One broker for this file, with all topics: the worker's names are fixed."""
    with LocalBroker(tmp_path_factory.mktemp("kafka"), free_port()) as running:
        settings = BrokerSettings(broker_url=running.url)
        with connect(settings) as admin:
            apply(admin, settings)
        yield settings
