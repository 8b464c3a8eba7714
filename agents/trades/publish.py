"""Trades to the log: envelopes per pair, idempotent, acknowledged by all; full means wait, never drop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from kafka.errors import KafkaError

from agents.trades.refusals import Refusal, dead_letter
from redpanda import clients
from redpanda.errors import ConfigError, UnreachableError
from redpanda.topics import DEAD_LETTERS, HOLES, TRADES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kafka import KafkaProducer

    from agents.trades.source import Batch
    from redpanda.settings import BrokerSettings
    from tables.records import Hole, Trade

__all__ = ["ENVELOPE_TRADES", "Publisher", "open_producer"]

log = logging.getLogger("tickcast.trades")

ENVELOPE_TRADES: Final = 1_000
LOGGED_REFUSALS: Final = 10
BATCH_BYTES: Final = 256 << 10
FENCED_MS: Final = 20.0
"""How often a producer that may not send asks again (ms)."""
CLOSE_S: Final = 0.5
"""What a producer is given to end."""
NEVER_MS: Final = 2**31 - 1
"""A record that expired would leave a hole behind it in the topic: the producer tries until it is stopped."""


def open_producer(broker: BrokerSettings, may_send: Callable[[], bool] | None = None) -> KafkaProducer:
    """Connect a producer and check that the topics exist.

    While `may_send` says no, nothing leaves it, not even what had been handed to it before; that waits inside.

    Raises
    ------
    UnreachableError
        The broker does not answer.
    ConfigError
        A topic is missing.
    """
    with clients.reaching(broker):
        producer = clients.producer(
            broker,
            timeout_s=10.0,
            client_id="tickcast-ingest",
            enable_idempotence=True,
            compression_type="lz4",
            delivery_timeout_ms=NEVER_MS,
            batch_size=BATCH_BYTES,
            linger_ms=0,
        )
        for topic in (TRADES, HOLES, DEAD_LETTERS):
            try:
                known = producer.partitions_for(topic)
            except KafkaError:
                known = None
            if not known:
                producer.close(timeout=0)
                raise ConfigError(f"topic {topic} does not exist: create it with `tickcast topics apply`")
    if may_send is not None:
        _fence(producer, may_send)
    return producer


def _fence(producer: KafkaProducer, may_send: Callable[[], bool]) -> None:
    """Ask right before batches are taken to be sent, retries too: a process that slept looks at the clock first.

    Left open: a process that is stopped between this look and the write to the socket.
    """
    sender: Any = producer._sender  # noqa: SLF001  # no public way
    send: Callable[[], float] = sender._send_producer_data  # noqa: SLF001  # see above

    def fenced() -> float:
        return send() if may_send() else FENCED_MS

    sender._send_producer_data = fenced  # noqa: SLF001  # see above


class _Freight(NamedTuple):
    """What one record brings to the counters once it is acknowledged."""

    weight: int = 1
    trades: int = 0
    newest_ts_ns: int = 0
    pair: str = ""


class _Closings:
    """Holes that are filled or given up, each behind the trades of its pair that were taken before.

    The record that closes a hole must not be in the log before the trades that fill it: a process that dies between
    the two would leave a hole that nobody looks for.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._acked: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[int, Hole]]] = {}

    def taken(self, pair: str, trades: int) -> None:
        """Note trades that are to be sent."""
        self._taken[pair] += trades

    def acked(self, pair: str, trades: int) -> None:
        """Note trades that the broker has; those of a pair are acknowledged in order."""
        self._acked[pair] += trades

    def put(self, hole: Hole) -> None:
        """Let a record wait for what was taken of its pair so far."""
        self._waiting.setdefault(hole.pair, deque()).append((self._taken[hole.pair], hole))

    def ripe(self, pair: str) -> Iterator[Hole]:
        """Give those that may be sent now, in order."""
        waiting = self._waiting.get(pair)
        while waiting and waiting[0][0] <= self._acked[pair]:
            yield waiting.popleft()[1]


class Publisher:
    """Fills envelopes and sends them from a thread of its own, so that the loop never waits for Kafka."""

    def __init__(self, producer: KafkaProducer, linger_ms: int, max_in_flight: int) -> None:
        self._producer = producer
        self._linger_s = linger_ms / 1_000
        self._max_in_flight = max_in_flight
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "publisher")
        self._closings = _Closings()
        self._encoder = msgspec.json.Encoder()
        self._open: dict[str, list[Trade]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._acked_s = time.monotonic()
        self.in_flight = 0
        """Trades, dead letters and records of holes taken and not yet acknowledged (count)."""
        self.published = 0
        """Trades acknowledged (count)."""
        self.envelopes = 0
        self.dead_letters: Counter[str] = Counter()
        """Refusals taken, by reason (count)."""
        self.holes: Counter[str] = Counter()
        """Records of holes taken, by state (count)."""
        self.open_holes: set[tuple[str, int]] = set()
        """Pair and first id of the holes that were told of as open and not as anything else since."""
        self.newest_ts_ns = 0
        """Time of the newest trade acknowledged, ns since the epoch; 0 before the first."""

    @property
    def stalled_s(self) -> float:
        """How long the broker has owed an acknowledgement (s)."""
        return time.monotonic() - self._acked_s if self.in_flight else 0.0

    async def publish(self, batch: Batch) -> None:
        """Take a batch; waits while `max_in_flight` is reached.

        Raises
        ------
        UnreachableError
            The broker refused a record for good; what follows it must not be published.
        """
        self._check()
        for refusal in batch.refusals:
            self._refuse(refusal)
        for hole in batch.holes:
            self.holes[hole.state] += 1
            change = self.open_holes.add if hole.state == "open" else self.open_holes.discard
            change((hole.pair, hole.first_id))
            self._owe(1)
            if hole.state == "open":
                self._submit(HOLES, hole.pair, hole, _Freight())
        if batch.trades:
            self._owe(len(batch.trades))
            self._closings.taken(batch.pair, len(batch.trades))
            waiting = self._open.setdefault(batch.pair, [])
            waiting += batch.trades
            while len(waiting) >= ENVELOPE_TRADES:
                self._hand_over(batch.pair, waiting[:ENVELOPE_TRADES])
                del waiting[:ENVELOPE_TRADES]
            if waiting and self._timer is None:
                self._timer = self._loop.call_later(self._linger_s, self._flush_open)
        for hole in batch.holes:
            if hole.state != "open":
                self._closings.put(hole)
                self._send_ripe(hole.pair)
        while self.in_flight >= self._max_in_flight:
            self._changed.clear()
            await self._changed.wait()
            self._check()

    async def drain(self) -> None:
        """Wait until everything taken is acknowledged. Raises as `publish`."""
        self._flush_open()
        while self.in_flight:
            self._changed.clear()
            await self._changed.wait()
            self._check()

    async def close(self, timeout_s: float) -> None:
        """Send what waits, for at most `timeout_s`, and stop; the next start fetches what is left."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.drain()
        except (TimeoutError, UnreachableError):
            log.warning("%d trades were not acknowledged: the next start fetches them again", self.in_flight)
        await self._loop.run_in_executor(None, self._close_producer)

    async def abandon(self) -> None:
        """Stop at once and send nothing more: somebody else publishes these pairs now."""
        self._error = self._error or UnreachableError("given up")
        if self._timer is not None:
            self._timer.cancel()
        await self._loop.run_in_executor(None, clients.drop, self._producer, CLOSE_S)
        await self._loop.run_in_executor(None, self._close_producer)

    def _close_producer(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        try:
            clients.end(self._producer, CLOSE_S)
        except KafkaError as error:
            log.warning("producer closed with records left: %s", error)

    def _check(self) -> None:
        if self._error is not None:
            raise UnreachableError(
                f"the broker refused a record for good: {self._error}; see the broker's log, then start again"
            )

    def _owe(self, weight: int) -> None:
        """Count what is taken; the broker's time to acknowledge starts with the first after a pause."""
        if not self.in_flight:
            self._acked_s = time.monotonic()
        self.in_flight += weight

    def _refuse(self, refusal: Refusal) -> None:
        self.dead_letters[refusal.reason] += 1
        count = self.dead_letters[refusal.reason]
        if count <= LOGGED_REFUSALS or count % 1_000 == 0:  # all are in the topic; the log shows what kind
            log.warning("refused (%s, %d so far): %s", refusal.reason, count, refusal.detail[:200])
        letter = dead_letter(refusal, time.time_ns() // 1_000_000)
        self._owe(1)
        self._submit(DEAD_LETTERS, letter.pair, letter, _Freight())

    def _flush_open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pair, waiting in self._open.items():
            if waiting:
                self._hand_over(pair, waiting[:])
                waiting.clear()

    def _hand_over(self, pair: str, trades: list[Trade]) -> None:
        self.envelopes += 1
        self._submit(TRADES, pair, trades, _Freight(len(trades), len(trades), trades[-1].ts_ns, pair))

    def _send_ripe(self, pair: str) -> None:
        for hole in self._closings.ripe(pair):
            self._submit(HOLES, pair, hole, _Freight())

    def _submit(self, topic: str, pair: str, record: object, freight: _Freight) -> None:
        """Queue for the one sending thread: submissions keep their order, and so do a pair's records."""
        self._thread.submit(self._send, topic, pair.encode(), record, freight)

    def _send(self, topic: str, key: bytes, record: object, freight: _Freight) -> None:
        """Encode and hand to the producer; runs in the sending thread."""
        if self._error is not None:
            return
        try:
            future: Any = self._producer.send(topic, self._encoder.encode(record), key or None)
        except (KafkaError, ValueError, TypeError) as error:
            self._error = error
            self._loop.call_soon_threadsafe(self._changed.set)
            return
        future.add_callback(lambda _: self._tell(freight, None))
        future.add_errback(lambda error: self._tell(freight, error))

    def _tell(self, freight: _Freight, error: Exception | None) -> None:
        """Bring an answer of the producer's thread to the loop."""
        if error is not None:  # at once: what the sending thread adds now would lie behind a hole
            self._error = self._error or error
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answered, freight, error)

    def _answered(self, freight: _Freight, error: Exception | None) -> None:
        self.in_flight -= freight.weight
        self._acked_s = time.monotonic()
        if error is None:
            self.published += freight.trades
            self.newest_ts_ns = max(self.newest_ts_ns, freight.newest_ts_ns)
            if freight.trades:
                self._closings.acked(freight.pair, freight.trades)
                self._send_ripe(freight.pair)
        self._changed.set()
