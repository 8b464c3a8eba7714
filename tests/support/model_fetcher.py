"""A small model of what aiokafka's thread answers: two partitions with gaps, positions, and committed offsets."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import ConsumerRecord
from faust.types import TP

__all__ = ["TOPIC", "TPS", "Fetcher", "Log"]

TOPIC = "model"
TPS = (TP(TOPIC, 0), TP(TOPIC, 1))


def record(tp: TP, offset: int) -> Any:
    value = b"%d" % offset
    return ConsumerRecord(tp.topic, tp.partition, offset, 0, 0, b"k", value, None, 1, len(value), ())


class Log:
    """One partition at the broker, and this member's position in it."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.end = 0
        self.position: int | None = None
        self.committed: int | None = None

    def start(self) -> int:
        return self.offsets[0] if self.offsets else self.end

    def reset(self) -> None:
        """Stand where aiokafka stands after an assignment: at the committed offset, or at the start."""
        self.position = self.start() if self.committed is None else self.committed

    def take(self, limit: int) -> list[int]:
        if self.position is None:
            self.reset()
        assert self.position is not None
        if self.position > self.end:  # out of range: aiokafka's reset to the earliest record
            self.position = self.start()
        found = [at for at in self.offsets if at >= self.position][:limit]
        if found:
            self.position = found[-1] + 1
        return found


class Fetcher:
    """What the consumer asks of aiokafka's thread."""

    def __init__(self) -> None:
        self.logs = {tp: Log() for tp in TPS}
        self.assigned: set[TP] = set()
        self.limit = 1
        self.lost = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def getmany(self, active: set[TP], timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109  # Faust's
        del timeout
        await self.gate.wait()
        found = {tp: self.logs[tp].take(self.limit) for tp in active & self.assigned}
        lost, self.lost = self.lost, False
        return {} if lost else {tp: [record(tp, at) for at in offsets] for tp, offsets in found.items() if offsets}

    def assignment(self) -> set[TP]:
        return set(self.assigned)

    def highwater(self, tp: TP) -> int:
        return self.logs[tp].end

    async def call_thread(self, call: Any, *args: Any) -> Any:
        return await call(*args)

    async def seek_within(self, assignment: Any, tp: TP, offset: int) -> None:
        del assignment
        self.logs[tp].position = offset

    async def seek_to_committed(self) -> dict[TP, int | None]:
        for tp in self.assigned:
            if self.logs[tp].committed:
                self.logs[tp].position = self.logs[tp].committed
        return {tp: self.logs[tp].committed for tp in self.assigned}

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return {tp: self.logs[tp].start() for tp in tps}

    def _ensure_consumer(self) -> Any:
        return self

    @property
    def _subscription(self) -> Any:
        return self

    @property
    def subscription(self) -> Any:
        return SimpleNamespace(assignment=SimpleNamespace(state_value=self._state))

    def _state(self, tp: TP) -> Any:
        return SimpleNamespace(_position=self.logs[tp].position) if tp in self.assigned else None

    def fetch_context(self) -> Any:
        return contextlib.nullcontext()
