"""How the worker's consumer asks the broker for records."""

from __future__ import annotations

from typing import Any, Final

from agents.lease import LeasedThread

__all__ = ["FETCH_WAIT_MS", "PromptThread"]

FETCH_WAIT_MS: Final = 50
"""How long the broker may keep a request that finds nothing (ms). aiokafka has one under way, and a partition whose
records were still unread when it left is not in it: a record of that partition waits for its answer. Faust's 1,500 ms
make that 1.5 s for a stage that was slow once while the other topics are quiet."""


class PromptThread(LeasedThread):
    """The consumer thread of a worker."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001  # Faust's is fixed; it is read when the consumer starts
        return consumer
