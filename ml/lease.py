"""Who trains: the member of a consumer group that the broker has given the one partition of `train-requests`.

A member that dies is replaced after a session. The offset that the group commits lies behind the last request that a
training has answered, so a request outlives the trainer that has read it, and no clocks are compared.
docs/adr/0021-one-training-at-a-time.md has the argument for how long two may train at once.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from multiprocessing.sharedctypes import RawValue
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ml.inputs import INPUT_SET
from ml.lock import boot_s
from ml.wanted import Told, Wanted, decode, due, encode
from redpanda.clients import member
from redpanda.errors import TickcastError, UnreachableError
from redpanda.topics import TRAIN_REQUESTS, TRAINERS
from tables.records import TrainRequest

if TYPE_CHECKING:
    from ctypes import c_double

    from kafka import KafkaConsumer

    from redpanda.settings import BrokerSettings
    from tables.status import Progress

__all__ = ["BELIEF_S", "SESSION_S", "GroupLease", "Lease", "SoloLease"]

SESSION_S: Final = 10.0
"""After so long without a word from a trainer the broker gives its place to another one."""
BELIEF_S: Final = 0.8 * SESSION_S
"""So long after the *sending* of a word that the broker has confirmed a trainer believes in its lease."""
_RENEW_S: Final = BELIEF_S / 4
_ANSWER_MS: Final = 3_000
_POLL_MS: Final = 200
_REOPEN_S: Final = 2.0
_CLOSE_S: Final = 15.0
_PLACE: Final = TopicPartition(TRAIN_REQUESTS, 0)
_log = logging.getLogger("tickcast.trainer")


class Lease(Protocol):
    """The right to train."""

    until_s: c_double | None
    """`boot_s` until which it is believed in, for the training process to look at; None: for ever."""
    trouble: str
    """What keeps the lease from being had, beside another holder; empty where nothing does."""
    away: bool
    """Whether there is no broker to ask."""

    @property
    def held(self) -> bool:
        """Whether it is ours now."""

    @property
    def waiting(self) -> int:
        """Requests that no training has answered yet (count)."""

    def wanted(self, interval_s: float) -> Wanted | None:
        """Say what is to be trained now, if anything and if the lease is ours."""

    def tell(self, state: str, progress: Progress | None, error: str, reason: str) -> None:
        """Let whoever asks the broker know how the trainer stands."""

    def done(self, wanted: Wanted, verdicts: dict[str, str]) -> None:
        """Note that what was wanted is trained."""

    def close(self) -> None:
        """Give it back, so that another one need not wait for the session to end."""


class SoloLease:
    """Without a broker: the lock file of the machine decides, and there are no requests."""

    def __init__(self) -> None:
        self.until_s: c_double | None = None
        self.trouble = ""
        self.away = False
        self.held = True
        self.waiting = 0
        self._told = Told()

    def wanted(self, interval_s: float) -> Wanted | None:
        """See `Lease`."""
        return due(self._told, (), 0, _now_ms(), interval_s)

    def tell(self, state: str, progress: Progress | None, error: str, reason: str) -> None:
        """Tell nobody."""

    def done(self, wanted: Wanted, verdicts: dict[str, str]) -> None:
        """See `Lease`."""
        self._told = _after(self._told, wanted, verdicts)

    def close(self) -> None:
        """Hold nothing."""


class GroupLease:
    """The lease of the group: a thread keeps it, connects by itself, and again after a failure.

    Every `_RENEW_S` it commits how far the requests are answered. The broker takes that only from a member of the
    current generation, and counts it as a sign of life; so it is also how the holder knows that it still holds.
    """

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self.until_s: c_double | None = (until_s := RawValue("d", 0.0))
        self._until_s: c_double = until_s
        self.trouble = ""
        self.away = False
        self._guard = threading.Lock()
        """Of what the thread and the trainer both change: the five below."""
        self._told = Told()
        self._requests: list[tuple[int, TrainRequest]] = []
        self._answered = 0
        """Offset behind the last request that was answered."""
        self._next = 0
        """Offset behind the last request that was read."""
        self._tenure = 0
        self._is_ours = False
        self._said_s = 0.0
        self._consumer: KafkaConsumer | None = None
        self._at_once = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def held(self) -> bool:
        """Whether the broker has lately confirmed that the partition is ours."""
        return boot_s() < self._until_s.value

    @property
    def waiting(self) -> int:
        """See `Lease`."""
        with self._guard:
            return len(self._requests)

    def wanted(self, interval_s: float) -> Wanted | None:
        """See `Lease`.

        Raises
        ------
        TickcastError
            The thread that keeps the lease has ended by a fault of the program.
        """
        if not self._thread.is_alive() and not self._closing.is_set():
            raise TickcastError(
                "nobody keeps the lease of training any more (the log has the reason): start the trainer anew"
            )
        if not self.held:
            return None
        with self._guard:
            found = due(self._told, [one for _, one in self._requests], self._next, _now_ms(), interval_s)
            return found._replace(tenure=self._tenure) if found is not None else None

    def tell(self, state: str, progress: Progress | None, error: str, reason: str) -> None:
        """See `Lease`; goes out with the next renewal."""
        with self._guard:
            self._told = msgspec.structs.replace(
                self._told, state=state, progress=progress, error=error, reason=reason, holder=_me()
            )

    def done(self, wanted: Wanted, verdicts: dict[str, str]) -> None:
        """See `Lease`; of an earlier tenure it counts no more, for the next holder has read the same requests."""
        with self._guard:
            if wanted.tenure != self._tenure or not self._is_ours:
                return
            self._told = _after(self._told, wanted, verdicts)
            self._requests = [(offset, one) for offset, one in self._requests if offset >= wanted.upto]
            self._answered = wanted.upto
        self._at_once.set()

    def close(self) -> None:
        """See `Lease`."""
        self._closing.set()
        self._thread.join(_CLOSE_S)

    def _keep(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    self._turn()
                except (KafkaError, UnreachableError) as error:
                    self._fail(f"the lease of training cannot be had: {error or type(error).__name__}")
        finally:
            self._leave()

    def _turn(self) -> None:
        """Look for requests and for a change of the holder, and renew."""
        consumer = self._consumer or self._join()
        rows = consumer.poll(timeout_ms=_POLL_MS).get(_PLACE, [])
        if _PLACE not in consumer.assignment():
            self._until_s.value = 0.0
            self._is_ours = False
            return
        if not self._is_ours or (self._said_s and not self.held):  # others may have held it in between
            self._take(consumer)
            rows = []
        for row in rows:
            self._read(row.offset, row.value)
        if self._at_once.is_set() or boot_s() - self._said_s >= _RENEW_S:
            self._at_once.clear()
            self._renew(consumer)

    def _fail(self, trouble: str) -> None:
        if trouble != self.trouble:
            _log.warning("%s", trouble)
        self.trouble, self.away = trouble, True
        self._leave()
        self._closing.wait(_REOPEN_S)

    def _join(self) -> KafkaConsumer:
        consumer = self._consumer = member(self._broker, TRAINERS, SESSION_S)
        if not consumer.partitions_for_topic(TRAIN_REQUESTS):
            raise UnreachableError(f"the topic {TRAIN_REQUESTS} is missing: run `tickcast topics apply`")
        consumer.subscribe([TRAIN_REQUESTS])
        self.trouble, self.away = "", False
        return consumer

    def _take(self, consumer: KafkaConsumer) -> None:
        """Learn from the committed offset how far the former holder was."""
        kept = consumer.committed(_PLACE, metadata=True, timeout_ms=_ANSWER_MS)
        with self._guard:
            self._told = decode(kept.metadata if kept is not None else None)
            self._requests = []
            self._answered = self._next = kept.offset if kept is not None and kept.offset >= 0 else 0
            self._tenure += 1
            self._is_ours = True
            self._said_s = 0.0
        consumer.seek(_PLACE, self._next)
        _log.info("this trainer holds the lease of training, after %s", self._told.holder or "nobody")

    def _read(self, offset: int, value: bytes | None) -> None:
        if offset < self._next:  # after a rebalance the partition is read from the committed offset again
            return
        try:
            request = msgspec.json.decode(value or b"", type=TrainRequest)
        except msgspec.DecodeError as error:
            _log.warning("record %d of %s is no request and is passed over: %s", offset, TRAIN_REQUESTS, error)
            request = None
        with self._guard:
            self._next = offset + 1
            if request is not None:
                self._requests.append((offset, request))
        if request is not None:
            horizon = f"{request.horizon_s} s" if request.horizon_s else "all horizons"
            _log.info("request %d to train %s: %s %s %s", offset, horizon, request.reason, request.pair, request.detail)

    def _renew(self, consumer: KafkaConsumer) -> None:
        sent_s = boot_s()
        try:
            self._commit(consumer)
        except KafkaError as error:
            # A rebalance does this too. What was confirmed before stays true until its time is over, not longer.
            self._at_once.set()
            self.trouble = f"the broker does not confirm the lease of training: {error or type(error).__name__}"
        else:
            self._said_s = sent_s
            self._until_s.value = sent_s + BELIEF_S
            self.trouble = ""

    def _commit(self, consumer: KafkaConsumer) -> None:
        with self._guard:
            answered, text = self._answered, encode(self._told)
        consumer.commit({_PLACE: OffsetAndMetadata(answered, text, -1)}, timeout_ms=_ANSWER_MS)

    def _leave(self) -> None:
        """Stop believing, then tell the broker, if it can be told."""
        was_ours, self._is_ours = self._is_ours, False
        self._until_s.value = 0.0
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        if was_ours:
            self.tell("released", None, "", self._told.reason)
            with suppress(KafkaError):  # then the next holder reads what was told before
                self._commit(consumer)
        with suppress(KafkaError):  # then the session ends by itself
            consumer.close(autocommit=False, timeout_ms=2_000)


def _after(told: Told, wanted: Wanted, verdicts: dict[str, str]) -> Told:
    changes: dict[str, Any] = {"verdicts": verdicts, "reason": wanted.reason}
    if not wanted.horizons_s:  # one horizon alone does not put off the others' turn
        changes |= {"full_ms": _now_ms(), "inputs": INPUT_SET}
    return msgspec.structs.replace(told, **changes)


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
