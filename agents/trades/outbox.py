"""Batches on their way from the jobs of a source to whoever publishes them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from agents.trades.source import Batch

__all__ = ["OUTBOX_TRADES", "Outbox"]

OUTBOX_TRADES: Final = 20_000
"""Trades that wait for the publisher before the socket is no longer read (count)."""
HISTORY_TRADES: Final = 5_000
"""Trades that wait before history fetches no more (count): it must not use up the room of the live feed."""


class Outbox:
    """A queue with two limits: `room` is clear while too many wait for live trades, `slack` while for history."""

    def __init__(self, room: asyncio.Event) -> None:
        self._batches: deque[Batch] = deque()
        self._filled = asyncio.Event()
        self._waiting = 0
        self._error: BaseException | None = None
        self.room = room
        self.slack = asyncio.Event()
        self.slack.set()

    def put(self, batch: Batch) -> None:
        """Add a batch; never blocks, `room` and `slack` say when to stop adding."""
        weight = _weight(batch)
        if not weight:
            return
        self._batches.append(batch)
        self._waiting += weight
        if self._waiting >= HISTORY_TRADES:
            self.slack.clear()
        if self._waiting >= OUTBOX_TRADES:
            self.room.clear()
        self._filled.set()

    def ended(self, task: asyncio.Task[None]) -> None:
        """Hand a job's failure to whoever reads."""
        if not task.cancelled() and task.exception() is not None:
            self._error = self._error or task.exception()
            self._filled.set()

    async def get(self) -> Batch:
        """Return the oldest batch, or raise what a job failed with."""
        while not self._batches:
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        batch = self._batches.popleft()
        self._waiting -= _weight(batch)
        if self._waiting < HISTORY_TRADES // 2:
            self.slack.set()
        if self._waiting < OUTBOX_TRADES // 2:
            self.room.set()
        return batch


def _weight(batch: Batch) -> int:
    return len(batch.trades) + len(batch.refusals) + len(batch.holes)
