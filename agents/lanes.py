"""Chunks of one partition one after the other, partitions beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp

__all__ = ["Lanes"]


class Lanes:
    """Hands the chunks of one topic to `run`, for each partition in the order of its log.

    While one partition waits for the broker another is folded, and what they send goes in one request. Faust's own
    `concurrency` would mix the chunks of a partition.
    """

    def __init__(self, app: ChunkApp, run: Callable[[Chunk], Awaitable[None]]) -> None:
        self._app = app
        self._run = run
        self._newest: dict[int, asyncio.Future[Any]] = {}
        """The last thing to do in each partition."""

    def put(self, event: Any) -> None:
        """Take an event of the topic whose value is a chunk."""
        chunk: Chunk = event.value
        before = self._newest.get(chunk.tp.partition)
        if before is not None and before.done():
            before = None
        if before is not None and not len(chunk):
            return  # a tick: it says that there is nothing to do
        # Faust has its own count of who is through with an event: a rebalance waits for it.
        event.message.incref()
        self._newest[chunk.tp.partition] = self._app.add_future(self._follow(before, event))

    async def _follow(self, before: asyncio.Future[Any] | None, event: Any) -> None:
        # Faust knows the event of a table's write by a weak reference: this task is what keeps it.
        try:
            if before is not None:
                await asyncio.wait({before})
            await self._run(event.value)
        finally:
            event.ack()
