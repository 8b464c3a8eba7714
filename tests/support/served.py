"""One pair as worker and sink leave it: candles and features in the store, features in the topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from redpanda.clients import producer
from redpanda.settings import BrokerSettings
from redpanda.topics import FEATURES
from tables.clickhouse import rows
from tables.features.fold import PairFeatures
from tables.records import Candle, Features
from tests.support.market import market

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["fill", "history", "publish"]


def history(pair: str, bars: int) -> tuple[list[Candle], list[Features]]:
    """Give candles and what the live fold says of them; one candle is corrected, and so are the rows after it."""
    candles = [msgspec.structs.replace(candle, pair=pair) for candle in market(bars, 100.0)]
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(pair, "1m", 902_000, table.get)
    said = [row for candle in candles for row in fold.apply(candle)]
    late = msgspec.structs.replace(candles[-5], revision=1, high=candles[-5].high * 1.01, as_of_ms=5_000)
    said += fold.apply(late)
    return [*candles, late], said


def publish(broker: BrokerSettings, said: Sequence[Features]) -> None:
    """Write rows to topic `features` as the worker does."""
    with producer(broker) as sender:
        for row in said:
            sender.send(FEATURES, key=row.pair.encode(), value=msgspec.json.encode(row))
        sender.flush(timeout=60)


def fill(client: Client, candles: Sequence[Candle], said: Sequence[Features]) -> None:
    """Write both as the sink does."""
    rows.insert_candles(client, candles, f"candles {candles[0].pair}")
    rows.insert_features(client, said, f"features {candles[0].pair}")
