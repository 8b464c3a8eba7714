"""Bad records become dead letters with a reason, and the stream goes on."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, DEAD_LETTERS, TRADES
from tables.records import Candle, DeadLetter, Trade
from tests.support.waiting import wait_for
from tests.support.worker import Worker, everything, own_broker

pytestmark = pytest.mark.component
__all__ = ["own_broker"]

PAIR = "BTC/USD"
GOOD = Trade(PAIR, 1, 1_526_187_600_000 * 1_000_000, 100.0, 1.0, "buy", "market", "replay")


def envelope(**changes: object) -> bytes:
    return msgspec.json.encode([{**msgspec.to_builtins(GOOD), **changes}])


BAD = {
    b"\xff\xfe not text": "malformed-record",
    b"{": "malformed-record",
    b"[],[]": "malformed-record",
    b"[]": "empty-envelope",
    b'"a text"': "malformed-record",
    envelope(price="100"): "malformed-record",
    envelope(trade_id=None): "malformed-record",
    envelope(price=100).replace(b"100", b"NaN"): "malformed-record",
    envelope(trade_id=2, price=0): "price-not-positive",
    envelope(trade_id=3, price=-5.0): "price-not-positive",
    envelope(trade_id=4, qty=0): "qty-not-positive",
    envelope(trade_id=0): "trade-id-not-positive",
    envelope(trade_id=5, ts_ns=-1): "timestamp-not-positive",
    envelope(trade_id=6, ts_ns=(time.time_ns() + 3_600_000_000_000)): "future-timestamp",
    envelope(trade_id=7, side="hold"): "malformed-record",
    msgspec.json.encode([GOOD, msgspec.structs.replace(GOOD, pair="ETH/USD", trade_id=8)]): "mixed-pairs",
    b"[" + b" " * 3_000_000 + b"}": "malformed-record",
}


def test_bad_records_are_dead_lettered_and_the_good_ones_folded(tmp_path: Path, own_broker: BrokerSettings) -> None:
    producer = KafkaProducer(
        bootstrap_servers=own_broker.broker_url, acks="all", max_request_size=4_000_000, compression_type="lz4"
    )
    producer.send(TRADES, key=PAIR.encode(), value=envelope())
    for value in BAD:
        producer.send(TRADES, key=PAIR.encode(), value=value)
    last = msgspec.structs.replace(GOOD, trade_id=9, ts_ns=GOOD.ts_ns + 1_000_000_000, price=101.0)
    producer.send(TRADES, key=PAIR.encode(), value=msgspec.json.encode([last]))
    producer.flush()
    producer.close()

    worker = Worker(tmp_path, own_broker.broker_url)
    worker.start()
    try:
        wait_for(lambda: worker.is_live() and worker.counters().get("candles", 0) >= 6, 60)
        wait_for(worker.is_drained, 20)
    finally:
        worker.close()

    letters = [msgspec.json.decode(value, type=DeadLetter) for value in everything(own_broker, DEAD_LETTERS)]
    assert Counter(letter.reason for letter in letters) == Counter(BAD.values())
    assert all(letter.detail and letter.stage == "candles" and letter.offset >= 0 for letter in letters)
    candles = [msgspec.json.decode(value, type=Candle) for value in everything(own_broker, CANDLES)]
    assert {(candle.timeframe, candle.trades, candle.close) for candle in candles} == {
        (timeframe, 2, 101.0) for timeframe in ("1m", "5m", "15m", "1h", "4h", "1d")
    }
