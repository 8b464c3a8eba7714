"""Inputs that move, on a real worker: one alert, one request, forecasts untrusted; also over a kill and a replay."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from ml.input_drift import Reference
from ml.inputs import inputs, raw_row
from ml.model import WARM_UP_BARS, Origin
from ml.registry import Record, Registry
from ml.settings import MlSettings
from ml.trees import Trees, TreesModel
from redpanda.settings import BrokerSettings
from redpanda.topics import ALERTS, FEATURES, FORECASTS, TRAIN_REQUESTS
from tables.features import FEATURE_NAMES
from tables.records import MINUTE_MS, Alert, Features, Forecast, TrainRequest
from tests.support.samples import START_MS, features
from tests.support.waiting import wait_for
from tests.support.worker import Worker, everything, own_broker

pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["own_broker"]

PAIR = "BTC/USD"
WINDOW = 120
ROWS = 300


def rows(count: int, first: int, shift: float) -> list[Features]:
    random = np.random.default_rng(first)
    out = []
    for index in range(first, first + count):
        drawn = (1.0 + 0.1 * (random.normal(size=len(FEATURE_NAMES)) + shift)).tolist()
        out.append(features(index, close=1.5, values=dict(zip(FEATURE_NAMES, drawn, strict=True))))
    return out


def serve(home: Path, trained_on: list[Features]) -> None:
    registry = Registry(MlSettings(home=home, horizons_s=(60,)))
    reference = Reference.of(np.concatenate([inputs(raw_row(one)) for one in trained_on]))
    leaf = np.tile(np.array([-1.6, -0.6, 0.1, 0.7, 1.7]), (12, 1))
    trees = Trees(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32), leaf / 3, 1.0, np.zeros(5))
    # Trained a moment before: a model whose age is not known is too old, which is told as well.
    origin = Origin(60, source="sim", data_to_ms=START_MS, references={PAIR: reference})
    registry.promote(60, registry.register(TreesModel(origin, trees), Record()))


def publish(broker: BrokerSettings, some: list[Features]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all")
    for row in some:
        producer.send(FEATURES, key=row.pair.encode(), value=msgspec.json.encode(row))
    producer.flush()
    producer.close()


def reasons(broker: BrokerSettings) -> dict[int, list[str]]:
    """Give the reasons of each candle's first forecast, which is the one that the store keeps."""
    made = [msgspec.json.decode(value, type=Forecast) for value in everything(broker, FORECASTS)]
    return {one.feature_open_ms: one.reasons for one in reversed(made)}


def answered(broker: BrokerSettings, row: Features) -> bool:
    return row.open_ms in reasons(broker)


def test_moved_inputs_are_told_once_and_make_forecasts_untrusted(tmp_path: Path, own_broker: BrokerSettings) -> None:
    serve(tmp_path, rows(2_000, 1_000_000, 0.0))
    usual = rows(ROWS, WARM_UP_BARS, 0.0)
    moved = rows(ROWS, WARM_UP_BARS + ROWS, 2.0)
    last = rows(2, WARM_UP_BARS + 2 * ROWS, 2.0)
    worker = Worker(
        tmp_path,
        own_broker.broker_url,
        stages="predictor,scorer",
        TICKCAST_HORIZONS_S="60",
        TICKCAST_DRIFT_INPUT_ROWS=str(WINDOW),
    )
    try:
        worker.start()
        wait_for(worker.is_live, 60)
        publish(own_broker, usual)
        wait_for(lambda: len(reasons(own_broker)) == ROWS and worker.is_drained(), 60)
        assert everything(own_broker, ALERTS) == []
        worker.kill()
        publish(own_broker, moved)
        worker.start()
        wait_for(lambda: bool(everything(own_broker, ALERTS)), 90)
        wait_for(worker.is_drained, 60)
        publish(own_broker, [*usual, *moved])
        wait_for(worker.is_drained, 60)
        worker.kill()
        worker.start()
        wait_for(worker.is_drained, 90)
        for row in last:  # the first one only reminds the new worker of the pair
            publish(own_broker, [row])
            wait_for(partial(answered, own_broker, row), 60)
            wait_for(worker.is_drained, 60)
    finally:
        worker.close()
    (alert,) = [msgspec.json.decode(value, type=Alert) for value in everything(own_broker, ALERTS)]
    (request,) = [msgspec.json.decode(value, type=TrainRequest) for value in everything(own_broker, TRAIN_REQUESTS, 1)]
    assert (alert.name, alert.raised, alert.horizon_s) == ("feature-drift", True, 60)
    assert moved[0].open_ms < alert.at_ms <= moved[-1].open_ms + MINUTE_MS
    assert (request.reason, request.asked_at_ms, request.detail) == ("drift", alert.at_ms, alert.text)
    found = reasons(own_broker)
    assert not any("drift" in found[row.open_ms] for row in usual)
    assert "drift" in found[last[1].open_ms]
