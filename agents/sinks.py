"""Sinks: what the stages say and what was refused into ClickHouse, committed after the insert.

A handler only queues its chunk, so that a store that is down holds up no other stage (until 32 MiB of a partition
wait, see agents/chunks.py). One writer a topic and partition takes what has queued up as one batch, a small one after
a moment in which more may come, with the token `topic-partition-first-last-number`: a late landing of an attempt that
was given up changes nothing (tables/clickhouse/attempts.py). The number is drawn for each batch: one that comes again
after a restart, next to others that are cut differently, has to be inserted again, for of equal versions of a row the
one that was written last counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import Any, Final, Generic, TypeVar

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.send import deliver_dead_letters, encode
from agents.stage import Decoder, WorkerState, register
from redpanda.errors import BadInputError, UnreachableError
from redpanda.topics import (
    ALERTS,
    CANDLES,
    DEAD_LETTERS,
    FEATURES,
    FORECAST_ERRORS,
    FORECASTS,
    HOLES,
    MODELS,
    TRADES,
    TRADES_LATE,
)
from tables.clickhouse.attempts import Attempts
from tables.records import (
    Alert,
    Candle,
    DeadLetter,
    Features,
    Forecast,
    ForecastError,
    Hole,
    LateTrade,
    ModelInService,
    Trade,
)

__all__ = ["Sink", "make_sinks"]

logger = logging.getLogger("tickcast.sinks")

T = TypeVar("T")
Insert = Callable[[Any, list[T], str], int]
MAX_BATCH_ROWS: Final = 20_000
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 10.0
LINGER_S: Final = 0.25
"""How long a small batch waits for more: the forecast of the same candle goes first, and the store gets fewer parts."""
LINGER_BELOW_ROWS: Final = 2_000
"""A larger batch goes at once: history comes in chunks of thousands (count)."""
INSERTS: Final = 2
"""Inserts into one table at a time (count)."""
TRADE_BYTES: Final = 128
"""About what one trade takes on the wire: a record of `trades` holds up to a thousand (bytes)."""


class _NotOwnedError(Exception):
    """The partition of a batch has moved."""


class Sink(Generic[T]):
    """Writes one topic into one table.

    Parameters
    ----------
    holds_many
        Whether a record is a list of rows, as in `trades`.
    """

    def __init__(
        self,
        app: ChunkApp,
        state: WorkerState,
        topic: str,
        record_type: Any,
        insert: Insert[T],
        connect: Any,
        *,
        holds_many: bool = False,
    ) -> None:
        self._app = app
        self._holds_many = holds_many
        self._state = state
        self._topic = topic
        self._decoder: Decoder[Any] = Decoder(record_type)
        self._insert = insert
        self._connect = connect
        self._client: Any = None
        self._queues: dict[int, asyncio.Queue[Chunk]] = {}
        # Not asyncio's own: a store that hangs keeps all it gets, and recovery and the status file need those.
        self._threads = ThreadPoolExecutor(INSERTS, thread_name_prefix=f"tickcast-sink-{topic}")
        self._turns = asyncio.Semaphore(INSERTS)
        register(app, state, topic, f"sink-{topic}", self.handle)

    async def handle(self, chunk: Chunk) -> None:
        """Queue a chunk for the writer of its partition."""
        partition = chunk.tp.partition
        if not len(chunk):
            return  # a tick, for another stage of the topic
        if partition not in self._queues:
            self._queues[partition] = asyncio.Queue()
            self._app.add_future(self._write(partition))
        self._queues[partition].put_nowait(chunk)

    async def _write(self, partition: int) -> None:
        queue = self._queues[partition]
        while True:
            chunks = [await queue.get()]
            rows = self._rows_in(chunks[0])
            if rows < LINGER_BELOW_ROWS:
                await asyncio.sleep(LINGER_S)
            while not queue.empty() and rows < MAX_BATCH_ROWS:
                chunks.append(queue.get_nowait())
                rows += self._rows_in(chunks[-1])
            # What was fetched before a rebalance comes again, here or at the new owner.
            chunks = [chunk for chunk in chunks if chunk.generation == self._app.consumer_generation_id]
            try:
                if chunks:
                    await self._store(chunks)
            except _NotOwnedError:
                logger.info("Sink %s-%d leaves a batch to the next owner", self._topic, partition)
            except Exception as error:
                logger.critical("Sink %s cannot go on: %r", self._topic, error, exc_info=True)
                self._state.failed = f"sink-{self._topic}: {error!r}"
                await self._app.crash(error)
                raise

    def _rows_in(self, chunk: Chunk) -> int:
        """Count the rows of a chunk, nearly: what it holds is not decoded yet."""
        return chunk.bytes // TRADE_BYTES if self._holds_many else len(chunk)

    async def _store(self, chunks: list[Chunk]) -> None:
        """Insert chunks of one generation; raises `_NotOwnedError` when the partition has gone to somebody else."""
        records: list[T] = []
        letters: list[DeadLetter] = []
        for chunk in chunks:
            good, bad = self._decoder.decode(chunk, "sink")
            for _, record in good:
                if self._holds_many:
                    records += record
                else:
                    records.append(record)
            letters += bad
        first, last = chunks[0], chunks[-1]
        token = f"{self._topic}-{first.tp.partition}-{first.first_offset}-{last.next_offset - 1}-{token_hex(4)}"
        if records:
            letters += await self._insert_until_stored(records, token, first)
        if self._topic != DEAD_LETTERS:
            await deliver_dead_letters(self._app, first.tp.partition, letters)
        elif letters:  # a bad dead letter is only logged: no loops
            logger.error("%d dead letters could not be stored, the first: %s", len(letters), letters[0].detail)
        for chunk in chunks:
            chunk.done()
        self._state.last_at_ns[f"sink-{self._topic}"] = time.time_ns()
        self._state.counters[f"stored_{self._topic.replace('-', '_')}"] += len(records)

    async def _insert_until_stored(self, records: list[T], token: str, origin: Chunk) -> list[DeadLetter]:
        """Retry the same batch until the store is known to have it; a row that it refuses is split out."""
        attempts = Attempts(token)
        pause_s = FIRST_RETRY_S
        while True:
            try:
                await self._insert_owned(records, attempts.token, origin)
            except UnreachableError as error:
                attempts.failed()
                logger.warning("Store does not answer, batch %s waits %.1f s: %s", attempts.token, pause_s, error)
                self._state.counters["store_retries"] += 1
                self._state.waiting[self._topic] = str(error)
                self._client = None
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LAST_RETRY_S)
            except BadInputError as error:
                if len(records) == 1:
                    return [_refused_row(self._topic, origin, records[0], str(error))]
                middle = len(records) // 2
                left = await self._insert_until_stored(records[:middle], f"{attempts.token}-l", origin)
                return left + await self._insert_until_stored(records[middle:], f"{attempts.token}-r", origin)
            else:
                self._state.waiting.pop(self._topic, None)
                if attempts.proven():
                    return []

    async def _insert_owned(self, records: list[T], token: str, origin: Chunk) -> None:
        # First the turn, then the look: a batch that waited behind others that hang is of a former owner by then, and
        # would overwrite what the new one has stored since.
        async with self._turns:
            if not await self._app.owns(origin):
                raise _NotOwnedError
            await asyncio.get_running_loop().run_in_executor(self._threads, self._insert_once, records, token)

    def _insert_once(self, records: list[T], token: str) -> None:
        if self._client is None:
            self._client = self._connect()
        self._insert(self._client, records, token)


def _refused_row(topic: str, origin: Chunk, record: object, detail: str) -> DeadLetter:
    return DeadLetter(
        stage="sink",
        reason="refused-by-store",
        detail=detail[:500],
        payload=encode(record)[:2_000].decode("utf-8", "replace"),
        topic=topic,
        partition=origin.tp.partition,
        offset=origin.first_offset,
        pair=str(getattr(getattr(record, "trade", record), "pair", "")),
        at_ms=time.time_ns() // 1_000_000,
    )


def make_sinks(app: ChunkApp, state: WorkerState, settings: Any) -> list[Sink[Any]]:
    """Register the sinks of the worker on the store that `settings` name."""
    from tables.clickhouse import rows  # noqa: PLC0415  # the client loads pandas; a worker without sinks does not
    from tables.clickhouse.client import connect  # noqa: PLC0415

    def open_client() -> Any:
        return connect(settings)

    found: list[Sink[Any]] = [
        Sink(app, state, CANDLES, Candle, rows.insert_candles, open_client),
        Sink(app, state, FEATURES, Features, rows.insert_features, open_client),
        Sink(app, state, FORECASTS, Forecast, rows.insert_forecasts, open_client),
        Sink(app, state, FORECAST_ERRORS, ForecastError, rows.insert_errors, open_client),
        Sink(app, state, ALERTS, Alert, rows.insert_alerts, open_client),
        Sink(app, state, HOLES, Hole, rows.insert_holes, open_client),
        Sink(app, state, TRADES_LATE, LateTrade, rows.insert_late_trades, open_client),
        Sink(app, state, MODELS, ModelInService, rows.insert_models, open_client),
        Sink(app, state, DEAD_LETTERS, DeadLetter, rows.insert_dead_letters, open_client),
    ]
    if settings.store_trades:
        found.append(Sink(app, state, TRADES, list[Trade], rows.insert_trades, open_client, holds_many=True))
    return found
