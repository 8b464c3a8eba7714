"""Ask for a training: one record for whichever trainer holds the lease."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from redpanda.clients import producer, reaching
from redpanda.topics import TRAIN_REQUESTS
from tables.records import TrainRequest

if TYPE_CHECKING:
    from redpanda.settings import BrokerSettings

__all__ = ["ask"]


def ask(broker: BrokerSettings, horizon_s: int, detail: str = "") -> TrainRequest:
    """Write a request of a person; horizon 0 asks for all.

    Raises
    ------
    UnreachableError
        The broker did not take it.
    """
    request = TrainRequest(horizon_s, "demand", detail, "", time.time_ns() // 1_000_000)
    with reaching(broker), producer(broker) as writer:
        writer.send(TRAIN_REQUESTS, msgspec.json.encode(request), key=str(horizon_s).encode()).get(timeout=10)
    return request
