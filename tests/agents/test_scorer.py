"""The scorer on a real broker: a restart in between and a replay of everything end with the same errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from ml.scoring import PairScores
from ml.settings import DriftSettings
from redpanda.settings import BrokerSettings
from redpanda.topics import ALERTS, CANDLES, FORECAST_ERRORS, FORECASTS, TRAIN_REQUESTS
from tables.records import MINUTE_MS, Alert, Candle, Forecast, ForecastError, TrainRequest
from tests.support.samples import candle, forecast
from tests.support.waiting import wait_for
from tests.support.worker import Worker, everything, own_broker

pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["own_broker"]

PAIR = "BTC/USD"
MINUTES = 40


def publish(broker: BrokerSettings, rows: list[Candle | Forecast]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all")
    for row in rows:
        topic = CANDLES if isinstance(row, Candle) else FORECASTS
        producer.send(topic, key=row.pair.encode(), value=msgspec.json.encode(row))
    producer.flush()
    producer.close()


def errors(broker: BrokerSettings) -> list[ForecastError]:
    found = [msgspec.json.decode(value, type=ForecastError) for value in everything(broker, FORECAST_ERRORS)]
    return [msgspec.structs.replace(one, scored_at_ms=0) for one in found]


def test_errors_equal_the_batch_over_a_restart_and_a_replay(tmp_path: Path, own_broker: BrokerSettings) -> None:
    rows: list[Candle | Forecast] = []
    for index in range(MINUTES):
        rows += [candle(index, close=100.0 + 0.2 * (index % 9 - 4)), forecast(index), forecast(index, horizon_s=300)]
    fold = PairScores(PAIR, 902_000, lambda _: None, DriftSettings())
    expected = [
        one for row in rows for one in (fold.candle(row, 0) if isinstance(row, Candle) else fold.forecast(row, 0))
    ]
    worker = Worker(tmp_path, own_broker.broker_url, stages="scorer")
    try:
        publish(own_broker, rows[: len(rows) // 2])
        worker.start()
        wait_for(lambda: worker.is_live() and len(errors(own_broker)) >= MINUTES // 2, 60)
        wait_for(worker.is_drained, 20)
        worker.kill()
        publish(own_broker, rows[len(rows) // 2 :])
        worker.start()
        wait_for(lambda: worker.is_live() and worker.is_drained() and len(errors(own_broker)) >= len(expected), 60)
        said = len(errors(own_broker))
        publish(own_broker, rows)
        wait_for(worker.is_drained, 20)
        publish(own_broker, [candle(MINUTES + 1), forecast(MINUTES)])
        wait_for(lambda: len(errors(own_broker)) >= said + 2, 20)
    finally:
        worker.close()
    found = errors(own_broker)
    # The last candle also ends a forecast of five minutes that waited for it.
    last = {(one.horizon_s, one.feature_open_ms) for one in found[said:]}
    assert len(found) == said + 2, "the replay says nothing"
    assert last == {(60, forecast(MINUTES).feature_open_ms), (300, forecast(MINUTES - 4).feature_open_ms)}
    by_key = {(one.horizon_s, one.feature_open_ms): one for one in found[:said]}
    assert by_key == {(one.horizon_s, one.feature_open_ms): one for one in expected}


def test_bad_stretch_is_one_alert_and_one_request_over_a_kill_and_a_replay(
    tmp_path: Path, own_broker: BrokerSettings
) -> None:
    bad = range(200, 320)
    rows: list[Candle | Forecast] = []
    for index in range(400):
        rows += [candle(index, close=103.0 if index in bad else 100.0 + 0.1 * (index % 9 - 4)), forecast(index)]
    fold = PairScores(PAIR, 902_000, lambda _: None, DriftSettings())
    drifting = {
        one.feature_open_ms: one.drifting
        for row in rows
        for one in (fold.candle(row, 0) if isinstance(row, Candle) else fold.forecast(row, 0))
    }
    expected = fold.told()
    assert [(one.name, one.raised) for one in expected.alerts] == [("coverage", True)]
    assert len(expected.requests) == 1
    worker = Worker(tmp_path, own_broker.broker_url, stages="scorer")
    middle = 2 * (expected.alerts[0].at_ms - rows[0].open_ms) // MINUTE_MS if isinstance(rows[0], Candle) else 0
    try:
        publish(own_broker, rows[:middle])
        worker.start()
        wait_for(lambda: bool(everything(own_broker, ALERTS)), 60)
        worker.kill()  # may be between what is said and the row: then it is said again, word for word
        publish(own_broker, rows[middle:])
        worker.start()
        wait_for(lambda: worker.is_live() and len({one.target_ms for one in errors(own_broker)}) == 399, 60)
        wait_for(worker.is_drained, 60)
        said = len(everything(own_broker, ALERTS))
        publish(own_broker, rows)
        wait_for(worker.is_drained, 60)
        status = worker.status()
    finally:
        worker.close()
    alerts = [msgspec.json.decode(value, type=Alert) for value in everything(own_broker, ALERTS)]
    requests = [msgspec.json.decode(value, type=TrainRequest) for value in everything(own_broker, TRAIN_REQUESTS, 1)]
    assert len(alerts) == said, "the replay says nothing"
    assert {msgspec.json.encode(one) for one in alerts} == {msgspec.json.encode(expected.alerts[0])}
    assert {msgspec.json.encode(one) for one in requests} == {msgspec.json.encode(expected.requests[0])}
    assert {one.feature_open_ms: one.drifting for one in errors(own_broker)} == drifting
    assert status is not None
    scores: Any = status.detail["scores"]
    (score,) = scores
    assert (score["drift_misses_alarm"], score["drift_loss_alarm"]) == (True, False)
