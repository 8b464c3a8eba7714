"""The scorer on a real broker: a restart in between and a replay of everything end with the same errors."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from ml.scoring import PairScores
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, FORECAST_ERRORS, FORECASTS
from tables.records import Candle, Forecast, ForecastError
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
    fold = PairScores(PAIR, 902_000, lambda _: None)
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
