"""Who listens to what: bounded queues between one feed and many sockets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from api.messages import Heartbeat, encode, update_message
from api.times import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.views import Channel, Update

__all__ = ["Hub", "Subscriber"]

log = logging.getLogger("tickcast.api")


class Subscriber:
    """One connection: what it asked for and what waits for it."""

    def __init__(self, queue_max: int) -> None:
        self.topics: set[tuple[Channel, str]] = set()
        self.closing: tuple[int, str] | None = None
        self.sending_since_s: float | None = None
        """Monotonic time at which the send in flight began."""
        self._queue_max = queue_max
        self._queue: deque[str | Update] = deque()
        self._wake = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return len(self._queue) >= self._queue_max

    def put(self, items: Iterable[str | Update]) -> None:
        """Queue answers to the client's own request; the caller has looked at `full` before."""
        self._queue.extend(items)
        self._wake.set()

    async def next(self) -> str:
        """Wait for the next frame; updates of a resume are encoded only here."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        item = self._queue.popleft()
        return item if isinstance(item, str) else update_message(item)


class Hub:
    """All connections of this process."""

    def __init__(self, *, connections_max: int, queue_max: int, stall_s: float) -> None:
        self._connections_max = connections_max
        self._queue_max = queue_max
        self._stall_s = stall_s
        self._subscribers: set[Subscriber] = set()
        self._by_topic: dict[tuple[Channel, str], set[Subscriber]] = {}
        self._beats = 0
        self.sent = 0
        self.dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def join(self) -> Subscriber | None:
        """Take one more connection, or None where there are enough."""
        if len(self._subscribers) >= self._connections_max:
            return None
        subscriber = Subscriber(self._queue_max)
        self._subscribers.add(subscriber)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a connection."""
        self._subscribers.discard(subscriber)
        for topic in list(subscriber.topics):
            self.unsubscribe(subscriber, topic)

    def subscribe(self, subscriber: Subscriber, topic: tuple[Channel, str]) -> None:
        """Send it the updates of this channel and pair from now on."""
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

    def publish(self, update: Update) -> None:
        """Queue one update for everybody who asked for it; encoded once."""
        listeners = self._by_topic.get((update.channel, update.pair))
        if listeners:
            self._offer(listeners, update_message(update))

    def beat(self, *, stale: bool) -> None:
        """Send the heartbeat, and drop who has not taken a message for too long."""
        self._beats += 1
        limit_s = time.monotonic() - self._stall_s
        for subscriber in list(self._subscribers):
            since_s = subscriber.sending_since_s
            if since_s is not None and since_s < limit_s:
                self.drop(subscriber, 1008, "slow-consumer")
        self._offer(self._subscribers, encode(Heartbeat(self._beats, now_ms(), stale)))

    def drop(self, subscriber: Subscriber, code: int, reason: str) -> None:
        """Close one connection with a named reason."""
        if subscriber.closing is None:
            log.warning("a WebSocket client was dropped: %s", reason)
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
            subscriber.closing = (code, reason)
            subscriber.closed.set()
            self.leave(subscriber)

    def drop_all(self, code: int, reason: str) -> None:
        """Close every connection with a named reason."""
        for subscriber in list(self._subscribers):
            self.drop(subscriber, code, reason)

    def _offer(self, listeners: set[Subscriber], frame: str) -> None:
        for subscriber in list(listeners):
            if subscriber.full:
                self.drop(subscriber, 1008, "slow-consumer")
            else:
                subscriber.put((frame,))
