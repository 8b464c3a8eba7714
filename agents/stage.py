"""What every stage shares: decoding a chunk, dead letters, counters, and stopping the worker on a fault."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.lanes import Lanes
from agents.lease import NotAMemberError
from tables.records import DeadLetter

if TYPE_CHECKING:
    from ml.model import ForecastModel

__all__ = ["Decoder", "WorkerState", "dead_letter", "register"]

logger = logging.getLogger("tickcast.stage")

T = TypeVar("T")
COUNTERS: Final = ("trades", "duplicates", "late", "candles", "features", "forecasts", "dead_letters")
"""Counters that are there from the start, in the order of the path."""
BLOCK_BYTES: Final = 128 * 1024
"""A thousand trades of one record each: ten thousand at once take nearly twice as long a trade (bytes)."""
_MAX_DETAIL: Final = 500
_MAX_PAYLOAD: Final = 2_000


class WorkerState:
    """What the worker tells about itself; shared by its stages, written to the status file by `app.worker`."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.forecasts: dict[tuple[str, int], dict[str, object]] = {}
        """Latest forecast by pair and horizon, as JSON types."""
        self.first_forecast_at_ms: int | None = None
        self.scores: dict[tuple[str, int], dict[str, float | int | str | None]] = {}
        """Rolling skill, loss and coverage by pair and horizon, see `ml.scoring.Score.figures`."""
        self.input_drift: dict[str, dict[int, dict[str, float | int | str]]] = {}
        """By pair and horizon (s): how many of a model's inputs have moved, see `ml.input_drift`."""
        self.live_close: dict[str, float] = {}
        self.champions: dict[str, str] = {}
        """Name and version of the champion in service, by horizon in seconds; not of a stand-in."""
        self.models: dict[str, dict[str, object]] = {}
        """What serves and what the registry says, by horizon in seconds: `agents.champions.ChampionWatch.report`."""
        self.first_at_ns: dict[str, int] = {}
        """Wall clock before a stage looked at its first record (ns), by stage."""
        self.last_at_ns: dict[str, int] = {}
        """Wall clock when the effects of a stage's last record were durable (ns), by stage."""
        self.busy_since_s: dict[str, float] = {}
        """Since when a stage has had its present chunk of a partition in hand (monotonic s), by `stage-partition`."""
        self.waiting: dict[str, str] = {}
        """Topics whose writer waits for something outside, and for what."""
        self.failed: str | None = None
        """Why the worker stops, once a stage met a fault that it cannot dead-letter."""

    def score_rows(self) -> list[dict[str, Any]]:
        """Give `scores` as rows."""
        return [{"pair": pair, "horizon_s": horizon_s, **row} for (pair, horizon_s), row in self.scores.items()]

    def input_rows(self) -> list[dict[str, Any]]:
        """Give `input_drift` as rows."""
        return [
            {"pair": pair, "horizon_s": horizon_s, **row}
            for pair, rows in self.input_drift.items()
            for horizon_s, row in rows.items()
        ]

    def inputs_moved(self, pair: str, model: ForecastModel) -> bool:
        """Say whether an alarm stands that the inputs of a model have moved."""
        one = self.input_drift.get(pair, {}).get(model.horizon_s)
        return (
            one is not None
            and (one["model"], one["model_version"]) == (model.name, model.version)
            and bool(one["alarm"])
        )


class Decoder(Generic[T]):
    """Decodes a whole chunk in one call, or in a few; on a bad record, one by one."""

    def __init__(self, record_type: Any) -> None:
        self._one: msgspec.json.Decoder[T] = msgspec.json.Decoder(record_type)
        self._all: msgspec.json.Decoder[list[T]] = msgspec.json.Decoder(list[record_type])

    def decode(self, chunk: Chunk, stage: str) -> tuple[Iterable[tuple[int, T]], list[DeadLetter]]:
        """Give (index in the chunk, record) of the good ones, and dead letters for the rest."""
        letters: list[DeadLetter] = []
        return self._between(chunk, 0, len(chunk), stage, letters), letters

    def blocks(self, chunk: Chunk, stage: str, letters: list[DeadLetter]) -> Iterator[Iterable[tuple[int, T]]]:
        """Give the same in blocks of about `BLOCK_BYTES`; dead letters are added to `letters`.

        Who is through with the records of one block before it takes the next finds them in the processor's cache.
        """
        records = max(1, len(chunk) * BLOCK_BYTES // max(chunk.bytes, 1))
        for begin in range(0, len(chunk), records):
            yield self._between(chunk, begin, begin + records, stage, letters)

    def _between(
        self, chunk: Chunk, begin: int, end: int, stage: str, letters: list[DeadLetter]
    ) -> Iterable[tuple[int, T]]:
        values = chunk.values[begin:end]
        try:
            if None not in values:
                records = self._all.decode(b"[" + b",".join(values) + b"]")  # type: ignore[arg-type]  # checked above
                # A record such as `1],[2` is bad alone and good in company; then the count is off.
                if len(records) == len(values):
                    return enumerate(records, begin)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        good: list[tuple[int, T]] = []
        for at, value in enumerate(values, begin):
            if value is None:  # a tombstone of compaction carries nothing
                continue
            try:
                good.append((at, self._one.decode(value)))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                letters.append(dead_letter(chunk, at, stage, "malformed-record", str(error)))
        return good


def dead_letter(chunk: Chunk, at: int, stage: str, reason: str, detail: str) -> DeadLetter:
    """Describe a refused record of a chunk."""
    key, value = chunk.keys[at] or b"", chunk.values[at] or b""
    return DeadLetter(
        stage=stage,
        reason=reason,
        detail=detail[:_MAX_DETAIL],
        payload=value[:_MAX_PAYLOAD].decode("utf-8", "replace"),
        topic=chunk.tp.topic,
        partition=chunk.tp.partition,
        offset=chunk.first_offset + at if chunk.first_offset >= 0 else -1,
        pair=key[:64].decode("utf-8", "replace"),
        at_ms=time.time_ns() // 1_000_000,
    )


def register(
    app: ChunkApp, state: WorkerState, topic: str, name: str, handle: Callable[[Chunk], Awaitable[None]]
) -> None:
    """Make an agent that hands every chunk of `topic` to `handle`: of a partition one at a time, partitions at once.

    A handler that raises stops the worker: Faust would ack the event, restart the agent, and lose the chunk. The
    chunk was not `done`, so the next worker gets it again.
    """
    app.chunk_handlers[topic] = app.chunk_handlers.get(topic, 0) + 1
    source = app.topic(topic, key_serializer="raw", value_serializer="raw", internal=False)

    async def run(chunk: Chunk) -> None:
        if state.failed is not None:
            # The fold that failed may hold what was never delivered: no further chunk may write it to the table.
            return
        chunk.take()
        if len(chunk):
            state.first_at_ns.setdefault(name, time.time_ns())
        lane = f"{name}-{chunk.tp.partition}"
        state.busy_since_s[lane] = time.monotonic()
        try:
            await handle(chunk)
        except NotAMemberError as error:
            # Not `done`: it comes again, here or at the next owner, and to a fold of its generation.
            logger.warning("Stage %s lets a chunk of %s go: %s", name, chunk.tp, error)
        except Exception as error:
            logger.critical("Stage %s cannot go on: %r", name, error, exc_info=True)
            state.failed = f"{name}: {error!r}"
            await app.crash(error)
            raise
        del state.busy_since_s[lane]

    lanes = Lanes(app, run)

    async def agent(stream: Any) -> None:
        async for event in stream.events():
            lanes.put(event)

    app.agent(source, name=f"tickcast.{name}", concurrency=1)(agent)
