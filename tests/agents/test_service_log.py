"""Topic `models`: each swap once, with the time at which it was noticed, however often the broker has to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaError

from agents import service_log
from agents.chunk_app import ChunkApp
from agents.send import Record
from agents.service_log import ServiceLog
from ml.baseline import BaselineModel
from ml.model import ForecastModel, Origin
from redpanda.topics import MODELS
from tables.records import ModelInService


class Broker:
    """Takes what is delivered, or refuses it."""

    def __init__(self) -> None:
        self.away = False
        self.taken: list[ModelInService] = []

    async def deliver(self, _app: ChunkApp, topic: str, partition: int, records: Sequence[Record]) -> None:
        assert (topic, partition) == (MODELS, 0)
        if self.away:
            raise KafkaError
        self.taken += [msgspec.json.decode(value, type=ModelInService) for _, value in records]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(service_log, "deliver", made.deliver)
    return made


def test_swaps_while_the_broker_is_away_are_told_later_with_the_times_of_their_own(broker: Broker) -> None:
    app = ChunkApp("tickcast-service-log-test", broker="kafka://127.0.0.1:1", web_enabled=False)
    watch: Any = SimpleNamespace(models=dict[int, ForecastModel]())
    log = ServiceLog(app, watch, life_ms=1_000)

    def look(at_ms: int) -> None:
        log.look(at_ms)
        asyncio.run(log.tell())

    watch.models = {60: BaselineModel(Origin(60)), 300: BaselineModel(Origin(300))}
    look(1)
    broker.away = True
    watch.models = {**watch.models, 60: BaselineModel(Origin(60, "2", data_to_ms=7))}
    look(2)
    watch.models = {**watch.models, 60: BaselineModel(Origin(60, "3"))}
    look(3)
    look(4)
    broker.away = False
    look(5)
    look(6)
    told = [(one.horizon_s, one.model_version, one.at_ms) for one in broker.taken]
    assert told == [(60, "0", 1), (300, "0", 1), (60, "2", 2), (60, "3", 3)]
    assert [one.expires_at_ms for one in broker.taken] == [None, None, 7 + 60_000 + 1_000, None]
