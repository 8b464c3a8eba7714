"""Whether this worker may still write: a worker that slept past its session has lost its partitions without knowing.

What it was about to send is then older than what the new owner has sent since. A row that it adds to a changelog would
be the last one of its key: the next recovery would take it, behind an offset that is committed. So produce requests
wait until the group has answered a heartbeat within the session, and are refused when it answers that this worker is
no member any more. Two gaps remain, both without a remedy on this side of the broker: a process that is stopped
between the look at the clock and the write to the socket, and bytes that the network holds back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.protocol.produce import ProduceRequest
from faust.transport.drivers import aiokafka as driver

__all__ = ["Lease", "LeasedProducer", "NotAMemberError", "WatchedConsumerThread"]

logger = logging.getLogger("tickcast.lease")

_ASK_S: Final = 0.02


class NotAMemberError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The group goes on without this worker."""

    def __str__(self) -> str:
        return "the group gave this worker's partitions away while it did not answer: the worker stops, start it again"


class Lease:
    """Membership of the group, as of the last heartbeat that it answered."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._heard_at_s: float | None = None
        """None before the first assignment: nothing can be lost yet."""
        self._is_lost = False
        self._stopping: asyncio.Task[None] | None = None

    def renew(self) -> None:
        """Take a new assignment."""
        self._heard_at_s, self._is_lost = time.monotonic(), False

    def watch_group(self, coordinator: Any) -> None:
        """Learn from aiokafka's coordinator, in its thread, what the group answers."""
        heartbeat, reset = coordinator._do_heartbeat, coordinator.reset_generation  # noqa: SLF001  # no public way

        async def do_heartbeat() -> bool:
            asked_at_s = time.monotonic()
            is_member: bool = await heartbeat()
            if is_member and self._heard_at_s is not None:
                self._heard_at_s = asked_at_s
            return is_member

        def reset_generation() -> None:
            self._is_lost = self._heard_at_s is not None
            reset()

        coordinator._do_heartbeat = do_heartbeat  # noqa: SLF001
        coordinator.reset_generation = reset_generation

    def guard(self, producer: Any) -> None:
        """Hold back the produce requests of an aiokafka producer while the membership is in doubt."""
        client = producer.client
        send, ready = client.send, client.ready

        async def guarded(node_id: int, request: Any, **options: Any) -> Any:
            if isinstance(request, ProduceRequest):
                await ready(node_id)  # connecting takes its time; the look at the clock comes last
                await self._confirm(producer)
            return await send(node_id, request, **options)

        client.send = guarded

    async def _confirm(self, producer: Any) -> None:
        while not self._is_lost:
            if self._heard_at_s is None or time.monotonic() - self._heard_at_s < self._session_s:
                return
            await asyncio.sleep(_ASK_S)
        error = NotAMemberError()
        if self._stopping is None and not self._app.should_stop:
            logger.critical("%s", error)
            self._stopping = asyncio.ensure_future(self._app.crash(error))
        producer._message_accumulator.fail_all(error)  # noqa: SLF001  # else they are sent after a new assignment
        raise error

    @property
    def _session_s(self) -> float:
        return float(self._app.conf.broker_session_timeout)


class WatchedConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, whose coordinator renews the app's lease."""

    async def on_start(self) -> None:
        """Watch the coordinator before it joins."""
        await super().on_start()
        app: Any = self.app
        app.lease.watch_group(self._ensure_consumer()._coordinator)  # noqa: SLF001  # no public way


class LeasedProducer(driver.Producer):
    """Faust's producer, held to the app's lease."""

    async def on_start(self) -> None:
        """Guard the producer before anything is sent."""
        await super().on_start()
        app: Any = self.app
        app.lease.guard(self._ensure_producer())
