"""Sinks on the real store: what was said last in the log is what the store ends with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from clickhouse_connect.driver import Client
from faust.types import TP

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.sinks import Sink, _NotOwnedError, make_sinks
from agents.stage import WorkerState
from redpanda.topics import FEATURES, HOLES
from tables.clickhouse import rows
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.records import Features
from tests.support.samples import START_MS, features, hole
from tests.support.store import store, store_client, store_database, store_settings

pytestmark = pytest.mark.component
__all__ = ["store", "store_client", "store_database", "store_settings"]

# One envelope corrects two candles: the row of the newest bar is said twice for the same trades.
LOG = [
    features(1, value=0.1, as_of_ms=5),
    features(0, value=0.2, as_of_ms=5),
    features(1, value=0.3, as_of_ms=5),
]


def chunk(offsets: Sequence[int], generation: int = 1) -> Chunk:
    records: list[Any] = [
        ConsumerRecord(FEATURES, 0, at, 5, 1, b"BTC/USD", msgspec.json.encode(LOG[at]), None, 0, 0, ())
        for at in offsets
    ]
    return Chunk(TP(FEATURES, 0), records, 1, generation)


def a_life(settings: StoreSettings, generation: int = 1) -> Sink[Features]:
    """Make the sink of a worker that has just started and owns its partitions."""
    app = ChunkApp("tickcast-sink-test", broker="kafka://127.0.0.1:1", web_enabled=False)
    app.consumer_generation_id = generation
    app.lease.renew()
    return Sink(app, WorkerState(), FEATURES, Features, rows.insert_features, lambda: connect(settings))


def stored(client: Client) -> list[float]:
    return [row[0] for row in client.query("SELECT tod_sin FROM features FINAL ORDER BY open_time").result_rows]


def test_batches_that_are_cut_anew_after_a_crash_end_with_the_last_word(
    store_client: Client, store_settings: StoreSettings
) -> None:
    for life in ([[0], [1], [2]], [[0, 1], [2]]):
        sink = a_life(store_settings)
        for offsets in life:
            asyncio.run(sink._store([chunk(offsets)]))
        assert stored(store_client) == [0.2, 0.3]


def test_a_batch_of_a_former_owner_is_not_stored(store_client: Client, store_settings: StoreSettings) -> None:
    former, current = a_life(store_settings), a_life(store_settings, generation=2)
    waiting = chunk([0, 1])
    former._app.consumer_generation_id = 2
    asyncio.run(current._store([chunk([0, 1, 2], generation=2)]))
    with pytest.raises(_NotOwnedError):
        asyncio.run(former._store([waiting]))
    assert stored(store_client) == [0.2, 0.3]
    assert waiting.open_handlers == 1, "it must not be committed either"


def test_a_hole_reaches_the_store_and_its_last_state_counts(
    store_client: Client, store_settings: StoreSettings
) -> None:
    app = ChunkApp("tickcast-sink-test", broker="kafka://127.0.0.1:1", web_enabled=False)
    app.consumer_generation_id = 1
    app.lease.renew()
    sinks = {sink._topic: sink for sink in make_sinks(app, WorkerState(), store_settings)}
    said = [hole(1), hole(20), hole(1, "repaired", at_ms=START_MS + 1)]
    records: list[Any] = [
        ConsumerRecord(HOLES, 0, at, 5, 1, b"BTC/USD", msgspec.json.encode(record), None, 0, 0, ())
        for at, record in enumerate(said)
    ]
    asyncio.run(sinks[HOLES]._store([Chunk(TP(HOLES, 0), records, 1, 1)]))
    found = store_client.query("SELECT first_id, state FROM holes FINAL ORDER BY first_id").result_rows
    assert found == [(1, "repaired"), (20, "open")]
    assert set(sinks) == {"candles", "features", "forecasts", "forecast-errors", "alerts", "holes", "dead-letters"}
