"""Knowing that table rows are with the broker before the offset behind them is committed.

Faust 0.15.3 flushes its producer before each commit, with two holes: its buffer gives up after a tenth of a second
and does not count the record that it is sending, and a record that the broker refuses is only logged. An offset so
committed is not read again, and a worker that starts without its folder misses the row.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faust.sensors import Sensor

from agents.lease import NotAMemberError

__all__ = ["ChangelogGuard", "pass_buffer"]


class ChangelogGuard(Sensor):
    """Notices changelog records that the broker did not take, and stops the app."""

    def __init__(self, app: Any) -> None:
        super().__init__()
        self._app = app
        self._stopping: asyncio.Task[None] | None = None
        self.lost: BaseException | None = None
        """Why a record was lost; nothing may be committed any more."""

    def on_send_initiated(self, producer: Any, topic: str, message: Any, keysize: int, valsize: int) -> str:
        """Remember the topic for `on_send_error`."""
        del producer, message, keysize, valsize
        return topic

    def on_send_error(self, producer: Any, exc: BaseException, state: str) -> None:
        """Stop the app where a changelog record is lost: the next worker reads the chunk again."""
        del producer
        if isinstance(exc, NotAMemberError):
            return  # the partition's next owner makes the row again, this worker too where it comes back
        if state in self._app.tables.changelog_topics and self.lost is None:
            self.lost = exc
            self._stopping = asyncio.ensure_future(self._app.crash(exc))


class _Marker:
    """Goes through Faust's producer buffer behind all that was put there before it."""

    def __init__(self) -> None:
        self.passed = asyncio.Event()
        # The buffer sends `record.message.channel.publish_message(record)`.
        self.message = self.channel = self

    async def publish_message(self, _record: Any, *, wait: bool = False) -> None:
        del wait
        self.passed.set()


async def pass_buffer(producer: Any) -> bool:
    """Wait until all records sent so far are with the broker or refused by it; False where the producer stops."""
    marker = _Marker()
    producer.buffer.pending.put_nowait(marker)
    while not marker.passed.is_set():
        if producer.buffer.should_stop:
            return False
        try:
            await asyncio.wait_for(marker.passed.wait(), 0.1)
        except TimeoutError:
            continue
    await producer._ensure_producer().flush()  # noqa: SLF001  # no public way
    return True
