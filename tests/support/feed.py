"""A seeded, endless feed of disordered trades into the real log."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from redpanda.topics import TRADES
from tables.records import Side, Trade

__all__ = ["PAIRS", "Feed", "envelopes"]

PAIRS: Final = {"BTC/USD": 2.0, "ETH/USD": 3.0, "SOL/USD": 5.0, "ADA/USD": 8.0, "XRP/USD": 15.0, "DOT/USD": 30.0}
"""Mean pause between two trades of a pair (s of event time)."""
SIDES: Final[tuple[Side, ...]] = ("buy", "sell")
START_MS: Final = 1_526_187_600_000
SPEED: Final = 90.0
"""Seconds of event time in a second."""
DISORDER_MS: Final = 60_000
# No envelope spans more than 5 minutes: with 1 minute of disorder nothing is late beyond 15, unless meant to be.
MOST_SPAN_NS: Final = 300_000_000_000
REPEATED: Final = 0.05
BELATED: Final = 0.007
"""Share of envelopes that come only when their minutes have left the state."""
ROUND_S: Final = 0.05
PATIENCE_S: Final = 120.0

Envelope = tuple[int, str, list[Trade]]
"""Event time at which it is due (ms), pair, trades."""


class Feed:
    """Publishes at `SPEED` from a thread, whatever else happens, until `finish`."""

    def __init__(self, broker_url: str, seed: int) -> None:
        self.acknowledged: dict[str, int] = dict.fromkeys(PAIRS, 0)
        """Highest id by pair that the broker has confirmed; all below it are confirmed as well after `finish`."""
        self.failure: BaseException | None = None
        self._broker_url = broker_url
        self._seed = seed
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float = PATIENCE_S) -> None:
        """Publish what is still under way at full speed, draw nothing new, and wait until the broker has it."""
        self._ending.set()
        self._thread.join(timeout_s)
        if self.failure is not None:
            raise AssertionError("the feed broke") from self.failure
        assert not self._thread.is_alive(), f"the broker did not take the last trades within {timeout_s:g} s"

    def _run(self) -> None:
        try:
            producer = self._connect()
            started_s = time.monotonic()
            waiting: list[Envelope] = []
            for due_ms, pair, trades in envelopes(self._seed, self._ending):
                waiting.append((due_ms, pair, trades))
                while due_ms > START_MS + (time.monotonic() - started_s) * SPEED * 1_000 and not self._ending.is_set():
                    producer = self._send(producer, waiting)
                    self._ending.wait(ROUND_S)
            self._send(producer, waiting).close()
        except BaseException as error:
            self.failure = error
            raise

    def _send(self, producer: Any, waiting: list[Envelope]) -> Any:
        """Send until all are acknowledged: what failed goes again, as ingest does it."""
        while waiting:
            try:
                sent = [
                    (one, producer.send(TRADES, key=one[1].encode(), value=msgspec.json.encode(one[2])))
                    for one in waiting
                ]
            except KafkaError:
                producer.close(timeout=1)
                producer = self._connect()
                continue
            waiting[:] = [one for one, future in sent if not self._is_acknowledged(one, future)]
        return producer

    def _is_acknowledged(self, one: Envelope, future: Any) -> bool:
        try:
            future.get(timeout=PATIENCE_S)
        except KafkaError:
            return False
        pair, trades = one[1], one[2]
        self.acknowledged[pair] = max(self.acknowledged[pair], trades[-1].trade_id)
        return True

    def _connect(self) -> Any:
        while True:
            try:
                return KafkaProducer(
                    bootstrap_servers=self._broker_url,
                    acks="all",
                    linger_ms=5,
                    max_block_ms=10_000,
                    retry_backoff_ms=200,
                )
            except KafkaError:
                if self._ending.wait(0.2):
                    raise


def envelopes(seed: int, ending: threading.Event) -> Iterator[Envelope]:
    """Give envelopes in the order in which they are due, without end; once `ending`, only those under way.

    Neighbours change places, some come twice, some far too late.
    """
    chance = random.Random(seed)
    sources = {pair: _parts(pair, gap_s, random.Random(f"{seed} {pair}")) for pair, gap_s in PAIRS.items()}
    following = {pair: next(source) for pair, source in sources.items()}
    under_way: list[tuple[int, int, str, list[Trade]]] = []
    number = count()
    while not ending.is_set():
        pair = min(following, key=lambda one: following[one][0].ts_ns)
        trades = following[pair]
        following[pair] = next(sources[pair])
        at_ms = trades[0].ts_ns // 1_000_000
        due_ms = at_ms + chance.randrange(DISORDER_MS)
        if chance.random() < BELATED:
            due_ms += chance.randrange(1_200_000, 2_400_000)
        heappush(under_way, (due_ms, next(number), pair, trades))
        if chance.random() < REPEATED:
            heappush(under_way, (due_ms + chance.randrange(100_000), next(number), pair, trades))
        while under_way and under_way[0][0] <= at_ms:
            due_ms, _, pair, trades = heappop(under_way)
            yield due_ms, pair, trades
    while under_way:
        due_ms, _, pair, trades = heappop(under_way)
        yield due_ms, pair, trades


def _parts(pair: str, gap_s: float, chance: random.Random) -> Iterator[list[Trade]]:
    """Draw the trades of one pair, in bursts, with silent minutes, cut into envelopes of 1..60."""
    at_ms, price, size = START_MS + chance.randrange(60_000), 100.0, 1
    part: list[Trade] = []
    for trade_id in count(1):
        at_ms += int(chance.expovariate(1 / (gap_s * 1_000)))
        if chance.random() < 0.001:
            at_ms += chance.randrange(600_000)
        price = round(max(1.0, price * chance.gauss(1, 0.001)), 2)
        qty, side = round(chance.uniform(0.001, 5), 8), chance.choice(SIDES)
        trade = Trade(pair, trade_id, at_ms * 1_000_000, price, qty, side, "market", "replay")
        if part and (len(part) >= size or trade.ts_ns - part[0].ts_ns >= MOST_SPAN_NS):
            yield part
            part, size = [], chance.choice([1, 1, 2, 5, 60])
        part.append(trade)
