"""Whether the broker still counts this worker as the owner of its partitions.

A worker that was stopped for longer than its session (SIGSTOP, a frozen virtual machine, a long swap) wakes up
without knowing that its partitions have moved. Until its next heartbeat is answered it must not publish: what it
would say is old, and a row that it adds to a changelog would be the last one of its key. The answers to aiokafka's
heartbeats are watched for that, and produce requests wait for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver

__all__ = ["POLL_S", "Lease", "LeasedProducer", "NotAMemberError"]

POLL_S: Final = 0.02


class NotAMemberError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The group went on without this worker; what it had not sent yet is dropped, and its chunks come again."""

    def __str__(self) -> str:
        return "the group gave this worker's partitions away while it did not answer"


class Lease:
    """Runs for one session time-out from the sending of each heartbeat that the broker has answered."""

    def __init__(self, session_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._session_s = session_s
        self._clock = clock
        self._until_s: float | None = None
        """None before the first assignment: there is nothing to lose yet."""
        self._member_since_s = -1.0
        self._is_closed: Callable[[], bool] = lambda: False
        self.is_lost = False
        """The group has said that it does not know this worker; until the next assignment."""
        self.losses = 0
        """Memberships that were lost so far (count)."""

    def is_valid(self) -> bool:
        """Tell whether the broker cannot have given the partitions away yet."""
        return not self.is_lost and self._until_s is not None and self._clock() < self._until_s

    def renew(self, sent_s: float | None = None) -> None:
        """Run anew from `sent_s` (monotonic s), from now where it is left out."""
        self._until_s = (self._clock() if sent_s is None else sent_s) + self._session_s

    def assigned(self) -> None:
        """Run anew for the partitions that the group has just given."""
        if self.is_lost:
            self._member_since_s = self._clock()
        self.is_lost = False
        self.renew()

    def lose(self) -> None:
        """Note that the group goes on without this worker."""
        self.is_lost = True
        self.losses += 1

    async def covers(self, *made_s: float) -> list[bool]:
        """Tell of each time (monotonic s) whether what was made then may be sent; waits while that is unknown."""
        while not (self._until_s is None or self.is_lost or self.is_valid() or self._is_closed()):  # noqa: ASYNC110  # another thread renews it
            await asyncio.sleep(POLL_S)
        if self._until_s is None:
            return [True] * len(made_s)
        is_valid = self.is_valid()
        return [is_valid and made >= self._member_since_s for made in made_s]

    def watch(self, coordinator: Any) -> None:
        """Learn from aiokafka's group coordinator, in its thread, what the group answers."""
        heartbeat: Callable[[], Awaitable[bool]] = coordinator._do_heartbeat  # noqa: SLF001  # no public way
        reset: Callable[[], None] = coordinator.reset_generation
        self._is_closed = coordinator._closing.done  # noqa: SLF001  # see above

        async def watched() -> bool:
            sent_s = self._clock()
            answered = await heartbeat()
            if answered:
                self.renew(sent_s)
            return answered

        def watched_reset() -> None:
            if not self._is_closed():  # a worker that stops in order has sent what it had
                self.lose()
            reset()

        coordinator._do_heartbeat = watched  # noqa: SLF001  # see above
        coordinator.reset_generation = watched_reset


class LeasedProducer(driver.Producer):
    """Faust's producer, whose requests wait while the membership is in doubt and are dropped when it was lost.

    Left open, and without a remedy on this side of the broker: a process that is stopped between the look at the
    clock and the write to the socket, and bytes that the network holds back.
    """

    async def on_start(self) -> None:
        """Guard the producer before anything is sent."""
        await super().on_start()
        app: Any = self.app
        lease: Lease = app.lease
        sender: Any = self._ensure_producer()._sender  # noqa: SLF001  # no public way
        send = sender._send_produce_req  # noqa: SLF001  # see above

        async def guarded(node_id: int, batches: dict[Any, Any]) -> None:
            await sender.client.ready(node_id)  # connecting takes its time; the look at the clock comes last
            kept = await lease.covers(*(batch._ctime for batch in batches.values()))  # noqa: SLF001  # no public way
            dropped = [tp for tp, is_kept in zip(batches, kept, strict=True) if not is_kept]
            for tp in dropped:
                batches.pop(tp).failure(NotAMemberError())
            if batches:
                await send(node_id, batches)
            else:
                sender._in_flight.discard(node_id)  # noqa: SLF001  # as `send` ends
            sender._muted_partitions.difference_update(dropped)  # noqa: SLF001  # as `send` ends

        sender._send_produce_req = guarded  # noqa: SLF001  # see above
