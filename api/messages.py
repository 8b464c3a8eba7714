"""The messages of the WebSocket feed (docs/feed.md)."""

from typing import Any, Final, Literal

import msgspec

from api.views import Channel, Record, Update

__all__ = [
    "SIMULATED",
    "Ack",
    "Data",
    "Failure",
    "Heartbeat",
    "Hello",
    "Params",
    "Pong",
    "Problem",
    "encode",
    "update_message",
]

SIMULATED: Final = "sim"
"""The source whose data is made up."""


class Params(msgspec.Struct, frozen=True):
    """What `subscribe` and `unsubscribe` take."""

    channel: str
    pairs: list[str]
    snapshot: bool = True
    resume: dict[str, int] = {}
    """Pair to the last cursor that the client has."""


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="type"):
    """First message of a connection."""

    version: str
    session: str
    """Changes with every run of the process: sequence numbers begin anew."""
    heartbeat_s: float
    message_max_bytes: int
    subscriptions_max: int
    source: str
    simulated: bool
    at_ms: int


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat", tag_field="type"):
    """Once a second to every connection."""

    counter: int
    at_ms: int
    stale: bool
    """The API has lost the broker: what it shows may be old."""


class Data(msgspec.Struct, frozen=True):
    """Snapshot or update of one channel and pair."""

    channel: Channel
    type: Literal["snapshot", "update"]
    pair: str
    seq: int
    cursor: int
    source: str
    simulated: bool
    data: list[Record]


class Ack(msgspec.Struct, frozen=True):
    """The request was carried out."""

    method: str
    req_id: int | str | None
    result: dict[str, Any]
    success: bool = True


class Pong(msgspec.Struct, frozen=True):
    """Answer to `ping`."""

    req_id: int | str | None
    at_ms: int
    method: str = "pong"


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused: `code` for programs, `message` for people."""

    code: str
    message: str


class Failure(msgspec.Struct, frozen=True):
    """The request was refused and changed nothing."""

    method: str | None
    req_id: int | str | None
    error: Problem
    success: bool = False


def encode(message: msgspec.Struct) -> str:
    """Make one text frame."""
    return msgspec.json.encode(message).decode()


def update_message(update: Update) -> str:
    """Make the frame that tells one update."""
    record = update.record
    return encode(
        Data(
            update.channel,
            "update",
            update.pair,
            update.seq,
            update.cursor,
            record.source,
            record.source == SIMULATED,
            [record],
        )
    )
