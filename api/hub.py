"""Who listens to what: one feed, many sockets, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import msgspec

from api.messages import Heartbeat, encode, update_message
from api.times import now_ms
from api.wire import text_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.caller import Caller
    from api.settings import ApiSettings
    from api.views import Channel, Update
    from api.wire import Wire

__all__ = ["POLICY", "TRY_AGAIN", "Hub", "Limits", "Subscriber"]

log = logging.getLogger("tickcast.api")

POLICY: Final = 1008
TRY_AGAIN: Final = 1013


class Limits(msgspec.Struct, frozen=True):
    """What the hub bounds; the settings `ws_*` of the same names."""

    connections_max: int
    connections_per_address_max: int
    connections_per_key_max: int
    queue_max: int
    stall_s: float
    subscribe_within_s: float
    idle_s: float

    @classmethod
    def of(cls, settings: ApiSettings) -> Limits:
        """Take them from the settings."""
        return cls(**{name: getattr(settings, f"ws_{name}") for name in cls.__struct_fields__})


class Subscriber:
    """One connection: what it asked for and what waits for it.

    A frame goes straight to the wire while the wire is open and nothing waits; else it queues and follows when the
    wire opens again. So nothing overtakes, and a client that does not read holds up only itself.
    """

    def __init__(self, wire: Wire, caller: Caller, queue_max: int, now_s: float) -> None:
        self.topics: set[tuple[Channel, str]] = set()
        self.caller = caller
        self.closing: tuple[int, str] | None = None
        self.closed = asyncio.Event()
        self.shut_since_s: float | None = None
        """Monotonic time since which the socket's buffer is full."""
        self.spoke_at_s = now_s
        """Monotonic time of its last message, or of its coming."""
        self.has_subscribed = False
        self._wire = wire
        self._queue_max = queue_max
        self._queue: deque[bytes | Update] = deque()
        self._replays = 0
        self._empty = asyncio.Event()
        self._empty.set()
        wire.watch(self._shut, self._opened)

    @property
    def full(self) -> bool:
        """Whether as much waits as may; what it asked to be told again does not count."""
        return len(self._queue) - self._replays >= self._queue_max

    def answer(self, payloads: Iterable[bytes | Update]) -> None:
        """Send the answers to its own request; updates of a resume are encoded when their turn comes."""
        for item in payloads:
            if isinstance(item, bytes):
                self.send(text_frame(item))
            else:
                self._queue.append(item)
                self._replays += 1
                self._empty.clear()
                self._drain()

    def send(self, frame: bytes) -> None:
        """Send a frame, or queue it where it must wait; the caller has looked at `full` before."""
        if not self._queue and self._wire.open:
            self._wire.write(frame)
        else:
            self._queue.append(frame)
            self._empty.clear()

    async def drained(self) -> None:
        """Wait until nothing waits any more."""
        await self._empty.wait()

    def forget(self) -> None:
        """Drop what waits: the connection is over."""
        self._queue.clear()
        self._replays = 0
        self._empty.set()

    def _drain(self) -> None:
        while self._queue and self._wire.open:
            item = self._queue.popleft()
            if not isinstance(item, bytes):
                self._replays -= 1
                item = text_frame(update_message(item))
            self._wire.write(item)
        if not self._queue:
            self._empty.set()

    def _shut(self) -> None:
        self.shut_since_s = time.monotonic()

    def _opened(self) -> None:
        self.shut_since_s = None
        if self._wire.open:
            self._drain()
        else:
            self.forget()


class Hub:
    """All connections of this process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._subscribers: set[Subscriber] = set()
        self._by_topic: dict[tuple[Channel, str], set[Subscriber]] = {}
        self._addresses: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()
        self._beats = 0
        self.sent = 0
        """Updates and heartbeats given to connections (count)."""
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._subscribers)

    def join(self, wire: Wire, caller: Caller) -> Subscriber | tuple[int, str]:
        """Take one more connection, or give the close code and reason where there are enough."""
        refusal = self._refusal(caller)
        if refusal is not None:
            self.refused[refusal[1]] += 1
            return refusal
        subscriber = Subscriber(wire, caller, self._limits.queue_max, time.monotonic())
        self._subscribers.add(subscriber)
        self._addresses[caller.address] += 1
        if caller.key_id is not None:
            self._keys[caller.key_id] += 1
        return subscriber

    def _refusal(self, caller: Caller) -> tuple[int, str] | None:
        limits = self._limits
        if len(self._subscribers) >= limits.connections_max:
            return TRY_AGAIN, "too-many-connections"
        if self._addresses[caller.address] >= limits.connections_per_address_max:
            return POLICY, "too-many-connections-of-address"
        if caller.key_id is not None and self._keys[caller.key_id] >= limits.connections_per_key_max:
            return POLICY, "too-many-connections-of-key"
        return None

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a connection."""
        if subscriber not in self._subscribers:
            return
        self._subscribers.discard(subscriber)
        _less(self._addresses, subscriber.caller.address)
        if subscriber.caller.key_id is not None:
            _less(self._keys, subscriber.caller.key_id)
        for topic in list(subscriber.topics):
            self.unsubscribe(subscriber, topic)
        subscriber.forget()

    def subscribe(self, subscriber: Subscriber, topic: tuple[Channel, str]) -> None:
        """Send it the updates of this channel and pair from now on."""
        subscriber.has_subscribed = True
        subscriber.topics.add(topic)
        self._by_topic.setdefault(topic, set()).add(subscriber)

    def unsubscribe(self, subscriber: Subscriber, topic: tuple[Channel, str]) -> None:
        """Stop sending it this channel and pair."""
        subscriber.topics.discard(topic)
        listeners = self._by_topic.get(topic)
        if listeners is not None:
            listeners.discard(subscriber)
            if not listeners:
                del self._by_topic[topic]

    def publish(self, update: Update) -> int:
        """Send one update to everybody who asked for it, encoded once; gives the number of them."""
        listeners = self._by_topic.get((update.channel, update.pair))
        if not listeners:
            return 0
        return self._offer(listeners, text_frame(update_message(update)))

    def beat(self, *, stale: bool) -> None:
        """Send the heartbeat, and drop who takes nothing or wants nothing for too long."""
        self._beats += 1
        now_s = time.monotonic()
        for subscriber in list(self._subscribers):
            reason = self._overdue(subscriber, now_s)
            if reason:
                self.drop(subscriber, POLICY, reason)
        self._offer(self._subscribers, text_frame(encode(Heartbeat(self._beats, now_ms(), stale))))

    def _overdue(self, subscriber: Subscriber, now_s: float) -> str:
        limits = self._limits
        if subscriber.shut_since_s is not None and now_s - subscriber.shut_since_s > limits.stall_s:
            return "slow-consumer"
        if subscriber.topics:
            return ""
        silent_s = now_s - subscriber.spoke_at_s
        if not subscriber.has_subscribed:
            # A ping does not put it off: `spoke_at_s` moves only once there was a subscription.
            return "no-subscription" if silent_s > limits.subscribe_within_s else ""
        return "idle" if silent_s > limits.idle_s else ""

    def drop(self, subscriber: Subscriber, code: int, reason: str) -> None:
        """Close one connection with a named reason."""
        if subscriber.closing is None:
            log.warning("a WebSocket client was dropped: %s (%s)", reason, subscriber.caller.name)
            self.dropped[reason] += 1
            subscriber.closing = (code, reason)
            subscriber.closed.set()
            self.leave(subscriber)

    def drop_all(self, code: int, reason: str) -> None:
        """Close every connection with a named reason."""
        for subscriber in list(self._subscribers):
            self.drop(subscriber, code, reason)

    def _offer(self, listeners: set[Subscriber], frame: bytes) -> int:
        slow = []
        for subscriber in listeners:
            if subscriber.full:
                slow.append(subscriber)
            else:
                subscriber.send(frame)
        sent = len(listeners) - len(slow)
        self.sent += sent
        for subscriber in slow:
            self.drop(subscriber, POLICY, "slow-consumer")
        return sent


def _less(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
