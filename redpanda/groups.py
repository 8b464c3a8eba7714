"""What the broker knows of a consumer group: its members, and the offsets that it has committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from redpanda.clients import connect, reaching
from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

__all__ = ["Committed", "committed", "committed_offsets", "member_count"]

T = TypeVar("T")
_READY_WITHIN_S: Final = 15.0
"""A broker that has just started makes or loads its topic of groups first."""
_POLL_S: Final = 0.1


class Committed(NamedTuple):
    """Where a group goes on, and what was written beside it."""

    offset: int
    metadata: str


def committed(settings: BrokerSettings, group: str) -> dict[tuple[str, int], Committed]:
    """Give (topic, partition) to what a group has committed; nothing of a group that is not known.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    """
    told = _ask(settings, lambda admin: admin.list_group_offsets(group).get(group, {}))
    return {
        (place.topic, place.partition): Committed(found.offset, found.metadata or "")
        for place, found in told.items()
        if found.offset >= 0
    }


def committed_offsets(settings: BrokerSettings, group: str) -> dict[tuple[str, int], int]:
    """Give (topic, partition) to the offset where the group goes on. Raises as above."""
    return {place: found.offset for place, found in committed(settings, group).items()}


def member_count(settings: BrokerSettings, group: str) -> int:
    """Count the members of a group; one that was killed is in it until its session ends. Raises as above."""
    return _ask(settings, lambda admin: len(admin.describe_groups([group])[group]["members"]))


def _ask(settings: BrokerSettings, question: Callable[[KafkaAdminClient], T]) -> T:
    deadline_s = time.monotonic() + _READY_WITHIN_S
    with reaching(settings), connect(settings) as admin:
        while True:
            try:
                return question(admin)
            except (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError) as error:
                if time.monotonic() > deadline_s:
                    raise UnreachableError(
                        f"the broker at {settings.broker_url} (TICKCAST_BROKER_URL) does not know its groups after "
                        f"{_READY_WITHIN_S:g} s ({error}): see its log"
                    ) from error
            time.sleep(_POLL_S)
