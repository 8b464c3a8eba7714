"""The candles stage without a broker: chunks and ticks in, what was delivered and the table out; clocks by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP

import agents.candles
from agents.candles import CandlesStage
from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.send import Record
from agents.stage import WorkerState
from redpanda.topics import CANDLES, DEAD_LETTERS, TRADES
from tables.candles import CandleRules
from tables.records import Candle, DeadLetter, Trade

__all__ = ["NOW_MS", "PARTITIONS", "StageBench"]

PARTITIONS = 4
NOW_MS = 1_526_187_600_000
"""A full hour."""
_IDLE_MS = 6_000
"""Longer than a pair must be silent to be looked at."""


class StageBench:
    """One worker's stage; the broker's time runs on by `wait`, and the machine's clock is `skew_ms` off."""

    def __init__(self, patch: pytest.MonkeyPatch, rules: CandleRules | None = None) -> None:
        self.now_ms = NOW_MS
        self.skew_ms = 0
        self.table: dict[bytes, bytes] = {}
        self.delivered: list[tuple[int, str, bytes, bytes]] = []
        """Partition, topic, key and value."""
        self._rules = rules or CandleRules()
        self._offset = 0
        clock = SimpleNamespace(
            monotonic=lambda: (self.now_ms - NOW_MS) / 1_000,
            monotonic_ns=lambda: (self.now_ms - NOW_MS) * 1_000_000,
            time_ns=lambda: (self.now_ms + self.skew_ms) * 1_000_000,
        )
        patch.setattr(agents.candles, "time", clock)
        patch.setattr(agents.candles, "deliver_all", self._deliver)
        patch.setattr(CandlesStage, "_promise_live", lambda *_: None)
        self.restart()

    def restart(self) -> None:
        """Start a worker on the same table."""
        app = ChunkApp("bench", broker="kafka://127.0.0.1:9", store="memory://", web_enabled=False)
        app.owns = self._owns  # type: ignore[method-assign]
        self.state = WorkerState()
        self._stage = CandlesStage(app, self.state, self.table, self._rules, PARTITIONS)

    async def _owns(self, chunk: Chunk) -> bool:
        del chunk
        return True

    async def _deliver(self, app: ChunkApp, partition: int, records: Mapping[str, Sequence[Record]]) -> None:
        del app
        self.delivered += [(partition, topic, key, value) for topic, some in records.items() for key, value in some]

    def take(self, partition: int, *envelopes: Sequence[Trade]) -> None:
        """Append envelopes to a partition and hand them over as one chunk."""
        records: list[Any] = []
        for trades in envelopes:
            value, key = msgspec.json.encode(list(trades)), trades[0].pair.encode()
            at = self._offset
            records.append(ConsumerRecord(TRADES, partition, at, self.now_ms, 1, key, value, None, 1, len(value), ()))
            self._offset += 1
        self._handle(Chunk(TP(TRADES, partition), records, 1, 1))

    def tick(self, partition: int) -> None:
        self._handle(Chunk(TP(TRADES, partition), [], 1, 1))

    def _handle(self, chunk: Chunk) -> None:
        asyncio.run(self._stage.handle(chunk))
        assert chunk.open_handlers == 0

    def wait(self, ms: int, *partitions: int) -> None:
        """Let time pass, then tick the partitions as one that is read to its end."""
        self.now_ms += ms
        for partition in partitions:
            self.tick(partition)

    def idle(self, *partitions: int) -> None:
        """Wait until pairs without a trade count as idle."""
        self.wait(_IDLE_MS, *partitions)

    def candles(self, pair: str, timeframe: str = "1m") -> list[Candle]:
        """Give what was published of a pair, in order."""
        found = [msgspec.json.decode(value, type=Candle) for _, topic, _, value in self.delivered if topic == CANDLES]
        return [one for one in found if (one.pair, one.timeframe) == (pair, timeframe)]

    def letters(self) -> list[DeadLetter]:
        return [
            msgspec.json.decode(value, type=DeadLetter)
            for _, topic, _, value in self.delivered
            if topic == DEAD_LETTERS
        ]
