"""Sinks on the real store: what was said last in the log is what the store ends with."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from clickhouse_connect.driver import Client
from faust.types import TP

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.sinks import INSERTS, LINGER_BELOW_ROWS, LINGER_S, Sink, _NotOwnedError, make_sinks
from agents.stage import WorkerState
from redpanda.errors import UnreachableError
from redpanda.topics import CANDLES, FEATURES, HOLES, MODELS, TRADES, TRADES_LATE
from tables.clickhouse import migrate, rows
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.records import Candle, Features
from tests.support.samples import START_MS, candle, features, hole, in_service, late_trade
from tests.support.store import StoreProcess, store, store_client, store_database, store_settings
from tests.support.waiting import wait_for

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


def test_a_small_chunk_waits_for_what_comes_behind_it_and_a_large_one_does_not(
    store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = a_life(store_settings)
    queue = sink._queues[0] = asyncio.Queue()
    batches: list[list[int]] = []
    waits: list[float] = []
    turn = asyncio.sleep

    async def store(chunks: list[Chunk]) -> None:
        batches.append([one.first_offset for one in chunks])
        raise _NotOwnedError

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        queue.put_nowait(chunk([1]))

    async def run(first: Chunk) -> None:
        queue.put_nowait(first)
        writer = asyncio.create_task(sink._write(0))
        done = len(batches) + 1
        while len(batches) < done:
            await turn(0)
        writer.cancel()

    monkeypatch.setattr(sink, "_store", store)
    monkeypatch.setattr("agents.sinks.asyncio.sleep", wait)
    asyncio.run(run(chunk([0])))
    asyncio.run(run(chunk([0] * LINGER_BELOW_ROWS)))
    assert (batches, waits) == ([[0, 1], [0]], [LINGER_S])


def test_a_store_that_hangs_keeps_no_thread_from_others(store_settings: StoreSettings) -> None:
    begun, answers = threading.Semaphore(0), threading.Event()

    def hang(_client: Any, rows_: list[Any], _token: str) -> int:
        begun.release()
        assert answers.wait(60)
        return len(rows_)

    async def run() -> str:
        sinks = [a_life(store_settings) for _ in range(40)]
        for sink in sinks:
            sink._insert = hang
            sink._client = object()
        inserts = [asyncio.create_task(sink._store([chunk([0])])) for sink in sinks]
        try:
            await asyncio.sleep(0)  # all of them are begun, and stand before the thread that is asked for now
            return await asyncio.wait_for(asyncio.to_thread(lambda: "free" if begun.acquire(timeout=10) else ""), 20)
        finally:
            answers.set()
            await asyncio.gather(*inserts)

    assert asyncio.run(run()) == "free"


def test_a_batch_that_waited_behind_others_that_hang_is_not_stored_when_its_partition_has_moved(
    store_settings: StoreSettings,
) -> None:
    sink = a_life(store_settings)
    begun, answers = threading.Semaphore(0), threading.Event()
    inserted: list[str] = []

    def hang(_client: Any, rows_: list[Any], token: str) -> int:
        begun.release()
        assert answers.wait(60)
        inserted.append(token)
        return len(rows_)

    async def run() -> list[BaseException | None]:
        tasks = [asyncio.create_task(sink._insert_until_stored(LOG, str(at), chunk([0]))) for at in range(INSERTS + 1)]
        for _ in range(INSERTS):
            await asyncio.to_thread(begun.acquire)
        sink._app.consumer_generation_id = (
            2  # the third has not begun: its turn comes when it is not the owner's any more
        )
        answers.set()
        return [
            one if isinstance(one, BaseException) else None
            for one in await asyncio.gather(*tasks, return_exceptions=True)
        ]

    sink._insert, sink._client = hang, object()
    assert [type(one) for one in asyncio.run(run())] == [*[type(None)] * INSERTS, _NotOwnedError]
    assert sorted(inserted) == [str(at) for at in range(INSERTS)]


def test_a_batch_of_trades_is_bounded_by_trades_and_split_to_the_one_that_is_refused(
    store_client: Client, store_settings: StoreSettings
) -> None:
    wanted = store_settings.model_copy(update={"store_trades": True})
    sink = sink_of(wanted, TRADES)
    trades = [msgspec.structs.replace(late_trade().trade, trade_id=at) for at in range(1, 1_001)]
    value = msgspec.json.encode(trades)
    record: Any = ConsumerRecord(TRADES, 0, 0, 5, 1, b"BTC/USD", value, None, 0, 0, ())
    assert 1_000 <= sink._rows_in(Chunk(TP(TRADES, 0), [record], 1, 1)) < 2_000
    trades[7] = msgspec.structs.replace(trades[7], trade_id=2**70)
    letters = asyncio.run(sink._insert_until_stored(trades, "trades-0-0-0-x", chunk([0])))
    assert [(one.reason, one.pair) for one in letters] == [("refused-by-store", "BTC/USD")]
    assert store_client.query("SELECT count() FROM trades FINAL").result_rows == [(999,)]


def test_a_tick_is_not_written(store_settings: StoreSettings) -> None:
    sink = a_life(store_settings)
    asyncio.run(sink.handle(Chunk(TP(FEATURES, 0), [], 1, 1)))
    assert sink._queues == {}
    assert sink._state.last_at_ns == {}


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
    store_all(store_settings, HOLES, [hole(1), hole(20), hole(1, "repaired", at_ms=START_MS + 1)])
    found = store_client.query("SELECT first_id, state FROM holes FINAL ORDER BY first_id").result_rows
    assert found == [(1, "repaired"), (20, "open")]


def sinks_of(settings: StoreSettings) -> dict[str, Sink[Any]]:
    app = ChunkApp("tickcast-sink-test", broker="kafka://127.0.0.1:1", web_enabled=False)
    app.consumer_generation_id = 1
    app.lease.renew()
    return {sink._topic: sink for sink in make_sinks(app, WorkerState(), settings)}


def sink_of(settings: StoreSettings, topic: str) -> Sink[Any]:
    return sinks_of(settings)[topic]


def store_all(settings: StoreSettings, topic: str, said: Sequence[Any]) -> None:
    """Let the sink of a topic store one chunk."""
    records: list[Any] = [
        ConsumerRecord(topic, 0, at, 5, 1, b"key", msgspec.json.encode(record), None, 0, 0, ())
        for at, record in enumerate(said)
    ]
    asyncio.run(sink_of(settings, topic)._store([Chunk(TP(topic, 0), records, 1, 1)]))


def test_late_trades_and_models_reach_the_store(store_client: Client, store_settings: StoreSettings) -> None:
    store_all(store_settings, TRADES_LATE, [late_trade(1), late_trade(2), late_trade(1)])
    store_all(store_settings, MODELS, [in_service("3"), in_service("0", data_to_ms=None)])
    assert store_client.query("SELECT trade_id FROM late_trades FINAL ORDER BY trade_id").result_rows == [(1,), (2,)]
    assert store_client.query("SELECT model_version FROM models ORDER BY model_version").result_rows == [("0",), ("3",)]


def test_single_trades_are_stored_only_where_that_is_wanted(
    store_client: Client, store_settings: StoreSettings
) -> None:
    assert TRADES not in sinks_of(store_settings)
    wanted = store_settings.model_copy(update={"store_trades": True})
    trades = [msgspec.structs.replace(late_trade().trade, trade_id=at, ts_ns=at) for at in range(5)]
    store_all(wanted, TRADES, [trades[:3], trades[2:], trades[:1]])
    store_all(wanted, TRADES, [[]])
    assert store_client.query("SELECT count(), sum(trade_id) FROM trades FINAL").result_rows == [(5, 10)]


def test_a_row_that_no_column_can_hold_is_split_out_and_the_others_are_stored(
    store_client: Client, store_settings: StoreSettings
) -> None:
    sink = sink_of(store_settings, CANDLES)
    poison = {3: candle(3, trades=2**40), 11: candle(11, last_trade_id=2**70)}
    batch = [poison.get(at, candle(at)) for at in range(16)]
    letters = asyncio.run(sink._insert_until_stored(batch, "candles-0-0-15-x", chunk([0])))
    assert [letter.reason for letter in letters] == ["refused-by-store"] * 2
    assert {msgspec.json.decode(letter.payload)["open_ms"] for letter in letters} == {
        one.open_ms for one in poison.values()
    }
    found = store_client.query("SELECT toUnixTimestamp64Milli(open_time) FROM candles ORDER BY open_time").result_rows
    assert [row[0] for row in found] == [one.open_ms for at, one in enumerate(batch) if at not in poison]
    assert asyncio.run(sink._insert_until_stored(batch, "candles-0-0-15-x", chunk([0]))) != []
    assert store_client.query("SELECT count() FROM candles").result_rows == [(14,)], "the halves have their own tokens"


def test_values_without_a_number_are_stored_as_they_are(store_client: Client, store_settings: StoreSettings) -> None:
    sink = sink_of(store_settings, FEATURES)
    odd = [features(0, value=None), features(1, value=float("nan")), features(2, value=float("inf"))]
    assert asyncio.run(sink._insert_until_stored(odd, "features-0-0-2-x", chunk([0]))) == []
    assert [str(value) for value in stored(store_client)] == ["nan", "nan", "inf"]


def store_to_kill(folder: Path) -> StoreProcess:
    """Start a store of the test's own, with its tables."""
    process = StoreProcess(folder)
    process.start()
    client = connect(process.settings())
    migrate.apply(client)
    client.close()
    return process


def test_a_store_that_was_killed_between_its_note_of_a_batch_and_the_rows_gets_the_batch_again(tmp_path: Path) -> None:
    """What a SIGKILL leaves in that tenth of a millisecond is made by hand: the note is there, the part is not."""
    process = store_to_kill(tmp_path)
    sink = sink_of(process.settings(), CANDLES)
    tokens: list[str] = []

    def insert(client: Client, batch: Sequence[Candle], token: str) -> int:
        tokens.append(token)
        count = rows.insert_candles(client, batch, token)
        if len(tokens) > 1:
            return count
        parts = client.query("SELECT path FROM system.parts WHERE table = 'candles' AND active").result_rows
        process.kill()
        for [path] in parts:
            shutil.rmtree(path)
        process.start()
        raise UnreachableError("the connection broke")

    sink._insert = insert
    batch = [candle(at) for at in range(20)]
    assert asyncio.run(sink._insert_until_stored(batch, "candles-0-0-19-x", chunk([0]))) == []
    client = connect(process.settings())
    found = client.query("SELECT count(), uniqExact(open_time) FROM candles FINAL").result_rows
    client.close()
    assert process.stop() == 0
    assert found == [(20, 20)]
    # The second is the fault itself: a yes without rows. An engine that has it no more needs no third attempt.
    assert tokens == ["candles-0-0-19-x", "candles-0-0-19-x", "candles-0-0-19-x~1"]


@pytest.mark.proof
def test_a_store_that_is_killed_again_and_again_has_every_row_once(tmp_path: Path) -> None:
    """Batches of one partition through the sink while the store is killed and away for a while."""
    process = store_to_kill(tmp_path)
    sink = sink_of(process.settings(), CANDLES)
    ledger: list[int] = []
    tokens: set[str] = set()
    enough = threading.Event()

    def insert(client: Client, batch: Sequence[Candle], token: str) -> int:
        tokens.add(token)
        return rows.insert_candles(client, batch, token)

    sink._insert = insert

    async def write() -> None:
        number = 0
        while not enough.is_set():
            batch = [candle(number * 500 + at) for at in range(500)]
            sink._app.lease.renew()  # a broker would, with every heartbeat
            assert await sink._insert_until_stored(batch, f"candles-0-{number}", chunk([0])) == []
            ledger.append(number)
            number += 1

    writer = threading.Thread(target=lambda: asyncio.run(write()))
    writer.start()
    for kill in range(6):
        seen = len(ledger)
        wait_for(lambda seen=seen, kill=kill: len(ledger) > seen + kill % 3, 60)  # type: ignore[misc]  # bound now
        process.kill()
        process.start()
    seen = len(ledger)
    wait_for(lambda: len(ledger) > seen, 60)
    enough.set()
    writer.join(60)
    client = connect(process.settings())
    raw, unique = client.query("SELECT count(), uniqExact(open_time) FROM candles").result_rows[0]
    final = client.query("SELECT count() FROM candles FINAL").result_rows[0][0]
    client.close()
    assert process.stop() == 0
    assert not writer.is_alive()
    assert final == unique == len(ledger) * 500
    assert unique <= raw <= len(tokens) * 500, "a token is there once at most"
    assert ledger == list(range(len(ledger)))
    assert sink._state.counters["store_retries"] > 0
