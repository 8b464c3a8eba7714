"""How far the client has got in each channel and pair. Pure: messages in, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.client.events import Event, Gap, Snapshot, Update
from api.views import RECORD_OF, Channel, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Message", "Positions", "SequenceHoleError", "Topic", "decode_message"]

Topic = tuple[Channel, str]
_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    channel: msgspec.json.Decoder(list[record])  # type: ignore[valid-type]  # a type known at run time only
    for channel, record in RECORD_OF.items()
}


class Message(msgspec.Struct, frozen=True):
    """A snapshot or an update as it comes; the records are decoded once the channel is known."""

    channel: str
    type: str
    pair: str
    seq: int
    cursor: int
    source: str
    simulated: bool
    data: msgspec.Raw


decode_message: Final = msgspec.json.Decoder(Message).decode


class SequenceHoleError(Exception):
    """An update has not come: connect again and resume."""


class _Position:
    """Of one channel and pair."""

    __slots__ = ("cursor", "seq", "snapshot")

    def __init__(self, cursor: int | None, *, snapshot: bool) -> None:
        self.cursor = cursor
        """Of the last update; None before the first message."""
        self.seq: int | None = None
        """Of the last message of this session; None before the first."""
        self.snapshot = snapshot


class Positions:
    """What is subscribed to, and what has come of it."""

    def __init__(self) -> None:
        self._of: dict[Topic, _Position] = {}
        self._session = ""

    def want(self, topic: Topic, cursor: int | None, *, snapshot: bool) -> None:
        """Follow a channel of a pair from now on, or from after this cursor."""
        one = self._of.setdefault(topic, _Position(cursor, snapshot=snapshot))
        one.snapshot = snapshot
        if cursor is not None and cursor != one.cursor:
            one.cursor, one.seq = cursor, None

    def drop(self, topic: Topic) -> None:
        """Follow it no longer."""
        self._of.pop(topic, None)

    def cursors(self) -> dict[Topic, int]:
        """Give the cursors to resume from."""
        return {topic: one.cursor for topic, one in self._of.items() if one.cursor is not None}

    def wanted(self) -> dict[tuple[Channel, bool], list[str]]:
        """Give the pairs by channel and whether a snapshot is wanted: what to ask for after a reconnect."""
        found: dict[tuple[Channel, bool], list[str]] = {}
        for (channel, pair), one in self._of.items():
            found.setdefault((channel, one.snapshot), []).append(pair)
        return found

    def connected(self, session: str) -> None:
        """Take note of the server's session: another one counts its sequences anew."""
        if session != self._session:
            self._session = session
            for one in self._of.values():
                one.seq = None

    def reset(self) -> list[Event]:
        """Take note that the log began anew: no cursor counts any more."""
        told = self.cursors()
        return [self._gap(topic, cursor, "feed-reset") for topic, cursor in told.items()]

    def missed(self, channel: Channel, pairs: Iterable[str]) -> list[Event]:
        """Take note of the pairs that the server could not resume."""
        told = self.cursors()
        topics: list[Topic] = [(channel, pair) for pair in pairs]
        return [self._gap(topic, told[topic], "too-old") for topic in topics if topic in told]

    def _gap(self, topic: Topic, cursor: int, reason: str) -> Gap:
        self._of[topic].cursor = None
        return Gap(*topic, cursor, reason)

    def take(self, message: Message) -> Event | None:
        """Give the event of one message; None for what is not followed, not known, or known already.

        Raises
        ------
        SequenceHoleError
            Where an update between the last one and this one has not come.
        msgspec.DecodeError
            Where the records are not those of the channel.
        """
        decoder = _DECODERS.get(message.channel)
        topic: Any = (message.channel, message.pair)  # the channel may be any text
        one = self._of.get(topic)
        if decoder is None or one is None:
            return None
        records: list[Record] = decoder.decode(message.data)
        return self._snapshot(one, message, records) if message.type == "snapshot" else _update(one, message, records)

    @staticmethod
    def _snapshot(one: _Position, message: Message, records: list[Record]) -> Event:
        one.seq, one.cursor = message.seq, message.cursor
        channel: Any = message.channel
        return Snapshot(channel, message.pair, message.seq, message.cursor, message.source, message.simulated, records)


def _update(one: _Position, message: Message, records: list[Record]) -> Event | None:
    if message.type != "update" or len(records) != 1:
        return None
    if one.seq is not None and message.seq > one.seq + 1:
        raise SequenceHoleError(f"{message.channel} {message.pair}: {message.seq} after {one.seq}")
    one.seq = message.seq if one.seq is None else max(one.seq, message.seq)
    if one.cursor is not None and message.cursor <= one.cursor:
        return None
    one.cursor = message.cursor
    channel: Any = message.channel
    return Update(channel, message.pair, message.seq, message.cursor, message.source, message.simulated, records[0])
