"""Ask for a training, and follow it until it is answered: all by the broker, wherever the trainer runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from ml.lease import SESSION_S
from ml.wanted import Told, decode
from redpanda.clients import producer, reaching
from redpanda.errors import TickcastError
from redpanda.groups import committed, member_count
from redpanda.topics import TRAIN_REQUESTS, TRAINERS
from tables.records import TrainRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from redpanda.settings import BrokerSettings

__all__ = ["ask", "follow"]

_LOOK_S: Final = 1.0
_NOBODY_S: Final = 2 * SESSION_S


def ask(broker: BrokerSettings, horizon_s: int, detail: str = "") -> int:
    """Write a request of a person; horizon 0 asks for all.

    Returns
    -------
    Its offset: what the group of trainers commits lies behind it once it is answered.

    Raises
    ------
    UnreachableError
        The broker did not take it.
    """
    request = TrainRequest(horizon_s, "demand", detail, "", time.time_ns() // 1_000_000)
    with reaching(broker), producer(broker) as writer:
        sent = writer.send(TRAIN_REQUESTS, msgspec.json.encode(request), key=str(horizon_s).encode())
        return int(sent.get(timeout=10).offset)


def follow(broker: BrokerSettings, offset: int, progress: Callable[[str, int, int], None]) -> dict[str, str]:
    """Wait until the request at `offset` is answered.

    Parameters
    ----------
    progress
        Called with what the trainer does, how far it is and how much there is.

    Returns
    -------
    Horizon (s) to verdict, of the last training.

    Raises
    ------
    UnreachableError
        The broker is away.
    TickcastError
        Nobody trains on this broker.
    """
    seen_s = time.monotonic()
    while True:
        told = _told(broker)
        if told is not None and told[0] > offset:
            return told[1].verdicts
        if told is not None and told[1].progress is not None:
            at = told[1].progress
            progress(at.label, at.done, at.total)
        if member_count(broker, TRAINERS):
            seen_s = time.monotonic()
        elif time.monotonic() - seen_s > _NOBODY_S:
            raise TickcastError(
                "nobody trains on this broker: start `tickcast train`; the request waits for it (for 7 days)"
            )
        time.sleep(_LOOK_S)


def _told(broker: BrokerSettings) -> tuple[int, Told] | None:
    kept = committed(broker, TRAINERS).get((TRAIN_REQUESTS, 0))
    return (kept.offset, decode(kept.metadata)) if kept is not None else None
