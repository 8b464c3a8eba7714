"""What an agent gets: all raw records of one partition and poll."""

from __future__ import annotations

from typing import Any

from faust.types import TP
from faust.types.tuples import ConsumerMessage, Message

__all__ = ["Chunk", "wrapped"]


class Chunk:
    """Records of one partition in the order of the log, none left out; empty for a tick."""

    __slots__ = (
        "bytes",
        "first_offset",
        "generation",
        "keys",
        "next_offset",
        "offsets",
        "open_handlers",
        "timestamps_ms",
        "tp",
        "values",
        "waiting_handlers",
    )

    def __init__(self, tp: TP, records: list[Any], handlers: int, generation: int) -> None:
        self.tp = tp
        self.generation = generation
        self.values: list[bytes | None] = [record.value for record in records]
        self.keys: list[bytes | None] = [record.key for record in records]
        self.timestamps_ms: list[int] = [record.timestamp for record in records]
        """The broker's append times."""
        self.first_offset: int = records[0].offset if records else -1
        self.next_offset: int = records[-1].offset + 1 if records else -1
        spanned = range(self.first_offset, self.next_offset)
        self.offsets: range | list[int] = (
            spanned if len(spanned) == len(records) else [record.offset for record in records]
        )
        """Of each record: a compacted topic has gaps."""
        self.bytes = sum(len(value) for value in self.values if value is not None)
        self.open_handlers = handlers
        """Handlers whose effects are not durable yet."""
        self.waiting_handlers = handlers
        """Handlers that have not begun with it."""

    def take(self) -> None:
        """Tell that one handler has begun: the next chunk may be fetched."""
        self.waiting_handlers -= 1

    def done(self) -> None:
        """Tell that one handler has made its effects durable; the last one releases the offset."""
        self.open_handlers -= 1

    def __len__(self) -> int:
        return len(self.values)

    def __bool__(self) -> bool:
        return True


def wrapped(chunk: Chunk, offset: int, timestamp_s: float) -> Message:
    """Make the one message by which Faust delivers a chunk."""
    return ConsumerMessage(
        chunk.tp.topic,
        chunk.tp.partition,
        offset,
        timestamp_s,
        0,
        None,
        None,
        chunk,  # type: ignore[arg-type]  # the raw codec hands the chunk through
        None,
        tp=chunk.tp,
        generation_id=chunk.generation,
    )
