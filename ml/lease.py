"""Who trains, and what for: one member of a consumer group, told by the requests of one partition.

The topic `train-requests` has one partition. The broker gives it to one member of the group `tickcast-trainer`: that
one trains, wherever it runs, and the others stand by. A member that dies is replaced within a session time-out; its
successor finds in the metadata of the committed offset when the last training began and ended. An offset is committed
only after the training that it led to, so that a request outlives the trainer that had read it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ml.inputs import INPUT_SET
from redpanda.clients import member
from redpanda.errors import UnreachableError
from redpanda.topics import TRAIN_REQUESTS, TRAINERS
from tables.records import TrainRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafka import KafkaConsumer

    from redpanda.settings import BrokerSettings

__all__ = ["SESSION_S", "GroupLease", "Lease", "Mark", "SoloLease", "Wanted", "due"]

SESSION_S: Final = 10.0
"""After so long without a word from a trainer the broker gives its place to another one."""
_POLL_MS: Final = 100
_REOPEN_S: Final = 3.0
_PLACE: Final = TopicPartition(TRAIN_REQUESTS, 0)
_log = logging.getLogger("tickcast.trainer")


class Mark(msgspec.Struct, frozen=True):
    """The last training that was finished, by anyone of the group (ms of the wall clock)."""

    began_ms: int
    ended_ms: int
    inputs: str = INPUT_SET
    """What its models were trained on: after an update that changes it, nothing was trained yet."""


class Wanted(NamedTuple):
    """A training that is due."""

    horizons_s: tuple[int, ...]
    """Empty: all."""
    reason: str
    """`schedule`, or the reasons of the requests."""


def due(mark: Mark | None, requests: Sequence[TrainRequest], now_ms: int, interval_s: float) -> Wanted | None:
    """Say what is to be trained now, if anything.

    A request is met by any training that began after it, so those of before the last one count no more, and all that
    came since lead to one training.
    """
    if mark is None or mark.inputs != INPUT_SET or now_ms - mark.ended_ms >= interval_s * 1_000:
        return Wanted((), "schedule")
    fresh = [one for one in requests if one.asked_at_ms > mark.began_ms]
    if not fresh:
        return None
    horizons_s = {one.horizon_s for one in fresh}
    reason = ", ".join(sorted({one.reason for one in fresh}))
    return Wanted(() if 0 in horizons_s else tuple(sorted(horizons_s)), reason)


class Lease(Protocol):
    """The right to train."""

    @property
    def held(self) -> bool:
        """Whether it is ours now."""

    trouble: str
    """What keeps the lease from being had; empty where nothing does."""
    mark: Mark | None
    requests: list[TrainRequest]

    def beat(self) -> None:
        """Keep it, look for requests; to be called every second or so, also while training. Raises nothing."""

    def begin(self) -> None:
        """Note that a training begins with what is known now."""

    def done(self) -> None:
        """Note that it has ended, and that the requests from before it are met."""

    def close(self) -> None:
        """Give it back, so that another one need not wait for the session to end."""


class SoloLease:
    """Without a broker: the lock file of the machine decides, and there are no requests."""

    def __init__(self) -> None:
        self.held = True
        self.trouble = ""
        self.mark: Mark | None = None
        self.requests: list[TrainRequest] = []
        self._began_ms = 0

    def beat(self) -> None:
        """Need nothing."""

    def begin(self) -> None:
        """See `Lease`."""
        self._began_ms = _now_ms()

    def done(self) -> None:
        """See `Lease`."""
        self.mark = Mark(self._began_ms, _now_ms())

    def close(self) -> None:
        """Hold nothing."""


class GroupLease:
    """The lease of the group; connects by itself, and again after a failure.

    A trainer that the broker cannot reach for a session is replaced, and stops when it learns of it. Two may train for
    that while; no harm is done but for the work, as each version is registered and judged by itself.
    """

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._consumer: KafkaConsumer | None = None
        self._seen_s = -SESSION_S
        self._opened_s = -_REOPEN_S
        self._is_member = False
        self._began_ms = 0
        self._met = 0
        self._next: int | None = None
        """Offset behind the last request that was read; None before the partition is ours."""
        self.trouble = ""
        self.mark: Mark | None = None
        self.requests: list[TrainRequest] = []

    @property
    def held(self) -> bool:
        """Whether the partition is ours; a rebalance that gives it back is no loss."""
        return self._is_member and time.monotonic() - self._seen_s < SESSION_S

    def beat(self) -> None:
        """See `Lease`."""
        try:
            consumer = self._connected()
            if consumer is None:
                return
            found = consumer.poll(timeout_ms=_POLL_MS)
            if _PLACE not in consumer.assignment():
                if not self.held:
                    self._is_member, self._next = False, None
                return
            self._seen_s = time.monotonic()
            if not self._is_member or self._next is None:
                self._take(consumer)
            for row in found.get(_PLACE, []):
                self._read(row.offset, row.value)
        except KafkaError as error:
            self._fail(f"{type(error).__name__}: {error}")
        else:
            self.trouble = ""

    def begin(self) -> None:
        """See `Lease`."""
        self._began_ms, self._met = _now_ms(), self._next or 0

    def done(self) -> None:
        """Commit what the training has met, with its times as metadata."""
        self.mark = Mark(self._began_ms, _now_ms())
        self.requests = [one for one in self.requests if one.asked_at_ms > self._began_ms]
        if self._consumer is None:
            return
        text = msgspec.json.encode(self.mark).decode()
        try:
            self._consumer.commit({_PLACE: OffsetAndMetadata(self._met, text, -1)})
        except KafkaError as error:
            self._fail(f"the end of the training could not be noted ({type(error).__name__}: {error})")

    def close(self) -> None:
        """See `Lease`."""
        consumer, self._consumer = self._consumer, None
        self._is_member = False
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=2_000)

    def _connected(self) -> KafkaConsumer | None:
        if self._consumer is None and time.monotonic() - self._opened_s >= _REOPEN_S:
            self._opened_s = time.monotonic()
            try:
                opened = member(self._broker, TRAINERS, SESSION_S)
            except UnreachableError as error:
                self.trouble = str(error)
                return None
            if not opened.partitions_for_topic(TRAIN_REQUESTS):
                opened.close(autocommit=False)
                self.trouble = f"the topic {TRAIN_REQUESTS} is missing: run `tickcast topics apply`"
                return None
            opened.subscribe([TRAIN_REQUESTS])
            self._consumer = opened
        return self._consumer

    def _take(self, consumer: KafkaConsumer) -> None:
        """Learn from the committed offset how far the former holder was."""
        kept = consumer.committed(_PLACE, metadata=True)
        self.mark = _mark(kept.metadata) if kept is not None else None
        self.requests = []
        self._next = kept.offset if kept is not None and kept.offset >= 0 else 0
        self._is_member = True
        _log.info("this trainer holds the lease of training; the last one ended: %s", self.mark or "never")

    def _read(self, offset: int, value: bytes | None) -> None:
        if self._next is not None and offset < self._next:
            return
        self._next = offset + 1
        try:
            self.requests.append(msgspec.json.decode(value or b"", type=TrainRequest))
        except msgspec.DecodeError as error:
            _log.warning("record %d of %s is no request to train and is passed over: %s", offset, TRAIN_REQUESTS, error)

    def _fail(self, trouble: str) -> None:
        self.trouble = f"the broker at {self._broker.broker_url} (TICKCAST_BROKER_URL): {trouble}"
        _log.warning("%s", self.trouble)


def _mark(text: str | None) -> Mark | None:
    try:
        return msgspec.json.decode(text or "", type=Mark)
    except msgspec.DecodeError:
        return None  # committed by something else: train, and write a mark


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
