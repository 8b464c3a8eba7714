"""Keeps a lease on topic `ingest-leases`: a thread that reads it, and says what the lease wants said."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import msgspec
from kafka import TopicPartition
from kafka.errors import KafkaError

from agents.trades.lease import Lease, LeaseRecord
from redpanda.clients import consumer, end, producer, reaching
from redpanda.errors import ConfigError, UnreachableError
from redpanda.topics import LEASES

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer

    from redpanda.settings import BrokerSettings

__all__ = ["LeaseKeeper", "clock_s"]

log = logging.getLogger("tickcast.trades")

WINDOW: Final = 3_000
"""Records read at the start, from the end (count): far more than are written within a longest lease."""
POLL_MS: Final = 50
START_S: Final = 10.0
RELEASE_S: Final = 1.0
PAUSE_S: Final = 0.5
_PLACE: Final = TopicPartition(LEASES, 0)
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock_s() -> float:
    """Seconds that never go back, the sleep of the machine included where the system counts it."""
    return time.clock_gettime(_CLOCK)


class LeaseKeeper:
    """One process's lease. `start` and `close` block; `acquired` and `lost` are for the loop that made it."""

    def __init__(self, broker: BrokerSettings, pairs: tuple[str, ...], lease_s: float) -> None:
        self._broker = broker
        self.lease = Lease(f"{socket.gethostname()}:{os.getpid()}#{token_hex(4)}", pairs, int(lease_s * 1_000))
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._reader: KafkaConsumer | None = None
        self._producer: KafkaProducer | None = None
        self._error: Exception | None = None

    def is_valid(self) -> bool:
        """Tell whether anything may be sent now; any thread may ask."""
        return self.lease.is_valid(clock_s())

    @property
    def why(self) -> str:
        """What stands against publishing now, for a person; empty where nothing does."""
        if self.is_valid():
            return ""
        if self.lease.granted:
            return "the lease has run out and the broker has not renewed it yet"
        holder = self.lease.holder
        return f"standby: {holder} holds the lease" if holder else "standby: no lease yet"

    async def acquired(self) -> int:
        """Wait until this process may publish; gives the term, for `lost`.

        Raises
        ------
        UnreachableError
            The thread has failed.
        """
        while True:
            term = self.lease.losses  # first: a loss after this line is one of the new term
            if self.lease.granted and self.is_valid():
                return term
            await self._next_change()

    async def lost(self, term: int) -> None:
        """Wait until somebody else may have the lease for good; running out alone is no loss. Raises as `acquired`."""
        while self.lease.losses == term:
            await self._next_change()

    async def _next_change(self) -> None:
        if self._error is not None:
            raise UnreachableError(f"the lease cannot be kept: {self._error}; see the broker's log") from self._error
        await self._changed.wait()
        self._changed.clear()

    def start(self) -> None:
        """Read the end of the topic and begin to claim.

        Raises
        ------
        ConfigError
            The topic does not exist, or has more than one partition.
        UnreachableError
            The broker does not answer.
        """
        self._reader = reader = consumer(self._broker)
        with reaching(self._broker):
            partitions = reader.partitions_for_topic(LEASES)
            if partitions != {0}:
                reader.close()
                count = len(partitions or ())
                raise ConfigError(
                    f"topic {LEASES} has {count} partitions and must have one: delete it, then `tickcast topics apply`"
                    if count
                    else f"topic {LEASES} does not exist: create it with `tickcast topics apply`"
                )
            reader.assign([_PLACE])
            first, end = reader.beginning_offsets([_PLACE])[_PLACE], reader.end_offsets([_PLACE])[_PLACE]
            reader.seek(_PLACE, max(first, end - WINDOW))
            deadline_s = time.monotonic() + START_S
            while reader.position(_PLACE) < end:
                self._read(POLL_MS)
                if time.monotonic() > deadline_s:
                    raise UnreachableError(f"the broker did not deliver {LEASES} for {START_S:g} s: see its log")
            self._producer = producer(
                self._broker,
                client_id="tickcast-lease",
                linger_ms=0,
                # What was not delivered within a few seconds must not come later.
                delivery_timeout_ms=4_000,
                request_timeout_ms=3_000,
                max_block_ms=2_000,
            )
        self.lease.caught_up(clock_s())
        self._thread.start()

    def close(self) -> None:
        """Give the lease back, so that the next one need not wait, and stop."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(RELEASE_S + 5.0)
        try:
            if self._producer is not None:
                if record := self.lease.release(clock_s()):
                    self._send(record)
                end(self._producer, RELEASE_S)
        except KafkaError as error:
            log.warning("the lease was not given back (%s): the next process waits until it has run out", error)
        finally:
            if self._reader is not None:
                self._reader.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            before = self._state()
            try:
                if record := self.lease.next(clock_s()):
                    self._send(record)
                self._read(POLL_MS)
            except KafkaError as error:
                log.warning("lease: the broker failed (%s), trying again", error or type(error).__name__)
                self._stop.wait(PAUSE_S)
            except Exception as error:
                log.exception("the lease cannot be kept")
                self._error = error
                self._tell()
                raise
            if self._state() != before:
                log.info("lease of %s: %s", self.lease.key, self.why or "held here")
                self._tell()

    def _state(self) -> tuple[bool, bool, int]:
        return self.lease.granted, self.is_valid(), self.lease.losses

    def _tell(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def _send(self, record: LeaseRecord) -> None:
        assert self._producer is not None  # noqa: S101  # `start` has made it
        value = msgspec.json.encode(record)
        self._producer.send(LEASES, value, self.lease.key.encode(), partition=0)

    def _read(self, wait_ms: int) -> None:
        assert self._reader is not None  # noqa: S101  # `start` has made it
        for row in self._reader.poll(wait_ms).get(_PLACE, []):
            try:
                record = msgspec.json.decode(row.value or b"", type=LeaseRecord)
            except (msgspec.MsgspecError, ValueError) as error:
                log.warning("skipped %s@%d: no record of a lease (%s)", LEASES, row.offset, error)
                continue
            self.lease.take(row.offset, row.timestamp, record, clock_s())
