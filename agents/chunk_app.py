"""The Faust app whose topics come in chunks (agents/chunks.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import faust

from agents.chunk import Chunk
from agents.chunks import ChunkTransport
from agents.durable import ChangelogGuard
from agents.lease import POLL_S, Lease

__all__ = ["ChunkApp"]


class ChunkApp(faust.App):
    """A Faust app whose topics in `chunk_handlers` are delivered in chunks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.chunk_handlers: dict[str, int] = {}
        """Topic name to the number of agents that must say `done`."""
        self.tick_topics: set[str] = set()
        """Topics whose idle partitions get ticks."""
        self.before_start: Callable[[], None] = lambda: None
        """Runs in a thread before anything is consumed."""
        self.failed: Callable[[], str] = lambda: ""
        """The stage that could not go on and its error; empty while all can."""
        self.from_the_start: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Run beside everything else, recovery included; what raises ends the worker."""
        # By name: what these classes need imports this module's users.
        kwargs.setdefault("Table", "agents.state_store:StateTable")
        kwargs.setdefault("TableManager", "agents.recovery:StateTables")
        super().__init__(*args, **kwargs)
        self.lease = Lease(self.conf.broker_session_timeout)
        self.changelogs = ChangelogGuard(self)
        self.sensors.add(self.changelogs)

    async def owns(self, chunk: Chunk) -> bool:
        """Tell whether what comes of `chunk` may be published; waits while that is unknown.

        Asked right before every effect that others see. On False the handler returns without `done`: the chunk
        comes again, here or at the new owner.
        """
        while chunk.generation == self.consumer_generation_id:
            if self.lease.is_valid():
                return True
            if self.rebalancing:
                return False
            await asyncio.sleep(POLL_S)
        return False

    async def on_first_start(self) -> None:
        """Let the topics be made first: Faust declares only those of its own."""
        await asyncio.to_thread(self.before_start)
        for job in self.from_the_start:
            self.add_future(job())
        await super().on_first_start()

    def _new_transport(self) -> Any:
        return ChunkTransport(self.conf.broker_consumer, self, loop=self.loop)
