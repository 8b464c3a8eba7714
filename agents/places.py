"""Where each partition stands: what was delivered of it, what is done, what is left."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from agents.chunk import Chunk

if TYPE_CHECKING:
    from agents.chunk_app import ChunkApp

__all__ = ["PlacedConsumer"]


class PlacedConsumer(driver.Consumer):
    """The part of `ChunkConsumer` that counts."""

    app: ChunkApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending: dict[TP, deque[Chunk]] = defaultdict(deque)
        """Chunks that were delivered and whose offset is not committed."""
        self._next: dict[TP, int] = {}
        """Offset of the next record to deliver."""

    def _track_end(self, tp: TP) -> None:
        end = self.highwater(tp)
        if end is not None:
            self.app.monitor.track_tp_end_offset(tp, end)

    def highwater(self, tp: TP) -> int | None:  # type: ignore[override]  # aiokafka, too, gives None at first
        """Give the end of a partition's log, None while it is unknown."""
        try:
            return super().highwater(tp)
        except AssertionError:  # a rebalance, in aiokafka's own thread, has just taken the partition away
            return None

    def topic_partitions(self, topic: str) -> int | None:
        """Give the number of a topic's partitions, None while it is unknown.

        aiokafka counts 0 for a topic that another worker made a moment ago. Faust would take that for a changelog of
        another layout than its source, and the worker would end with its first write.
        """
        return super().topic_partitions(topic) or None

    def _backlog(self, tp: TP) -> int:
        """Count the records of a partition that were not delivered yet; 1 while that is unknown."""
        end = self.highwater(tp)
        if end is None:
            return 1
        return max(0, end - self.consumed(tp))

    def consumed(self, tp: TP) -> int:
        """Give the offset of the next record to deliver."""
        return self._next.get(tp, self._read_offset[tp] or 0)

    def progress(self, tp: TP) -> tuple[int, int, int]:
        """Give the next offset to deliver, the one that the group would go on with, and the end as fetches told it."""
        pending, consumed = self._pending.get(tp), self.consumed(tp)
        committed = self._committed_offset.get(tp)
        if committed is None:
            committed = pending[0].first_offset if pending else consumed
        return consumed, committed, self.highwater(tp) or 0

    def lag(self) -> int:
        """Count the records of all chunk partitions whose handlers are not done."""
        total = 0
        for tp in list(self._get_active_partitions()):
            if tp.topic in self.app.chunk_handlers:
                total += self._backlog(tp)
                total += sum(len(chunk) for chunk in self._pending[tp] if chunk.open_handlers > 0)
        return total

    def positions(self) -> dict[str, list[int]]:
        """Describe every chunk partition: next offset to deliver, end of the log, and records not done."""
        return {
            f"{tp.topic}-{tp.partition}": [
                self.consumed(tp),
                self.highwater(tp) or 0,
                sum(len(chunk) for chunk in self._pending[tp] if chunk.open_handlers > 0),
            ]
            for tp in sorted(self._get_active_partitions())
            if tp.topic in self.app.chunk_handlers
        }
