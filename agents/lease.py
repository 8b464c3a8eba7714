"""Whether the broker still counts this worker as the owner of its partitions.

A worker that was stopped for longer than its session (SIGSTOP, a frozen virtual machine, a long swap) wakes up
without knowing that its partitions have moved. Until its next heartbeat is answered it must not publish: what it
would say is old. The heartbeats of aiokafka are watched for that.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["Lease"]


class Lease:
    """Runs for one session time-out from the sending of each heartbeat that the broker has answered."""

    def __init__(self, session_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._session_s = session_s
        self._clock = clock
        self._until_s = -1.0

    def is_valid(self) -> bool:
        """Tell whether the broker cannot have given the partitions away yet."""
        return self._clock() < self._until_s

    def renew(self, sent_s: float | None = None) -> None:
        """Run anew from `sent_s` (monotonic s), from now where it is left out."""
        self._until_s = (self._clock() if sent_s is None else sent_s) + self._session_s

    def watch(self, coordinator: Any) -> None:
        """Renew with every answered heartbeat of aiokafka's group coordinator."""
        heartbeat: Callable[[], Awaitable[bool]] = coordinator._do_heartbeat  # noqa: SLF001  # no public way

        async def watched() -> bool:
            sent_s = self._clock()
            answered = await heartbeat()
            if answered:
                self.renew(sent_s)
            return answered

        coordinator._do_heartbeat = watched  # noqa: SLF001  # see above
