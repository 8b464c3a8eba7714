"""The messages of the WebSocket feed (docs/feed.md)."""

from typing import Final, Literal

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
    "Ping",
    "Pong",
    "Problem",
    "Subscribe",
    "Subscribed",
    "Unsubscribe",
    "encode",
    "update_message",
]

SIMULATED: Final = "sim"
"""The source whose data is made up."""


class Params(msgspec.Struct, frozen=True):
    """What `subscribe` and `unsubscribe` take."""

    channel: str
    """`forecasts`, `candles`, `candles-live` or `errors`."""
    pairs: list[str]
    """At least one; `*` stands for all that are known."""
    snapshot: bool = True
    resume: dict[str, int] = {}
    """Pair to the last cursor that the client has."""


class Subscribe(msgspec.Struct, frozen=True):
    """Follow a channel of some pairs: a snapshot (or what was missed since `resume`), then every update."""

    method: Literal["subscribe"]
    params: Params
    req_id: int | str | None = None
    """Comes back with the answer."""


class Unsubscribe(msgspec.Struct, frozen=True):
    """Follow a channel of some pairs no longer."""

    method: Literal["unsubscribe"]
    params: Params
    req_id: int | str | None = None


class Ping(msgspec.Struct, frozen=True):
    """Ask for a `pong`."""

    method: Literal["ping"]
    req_id: int | str | None = None


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


class Subscribed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was subscribed to, or is not any more."""

    channel: Channel
    pairs: list[str]
    gaps: list[str] | None = None
    """Pairs that were to be resumed and could not: their updates follow on a snapshot."""
    cursors: dict[str, int] = {}
    """Where the pairs that come without a snapshot begin: resume from there."""


class Ack(msgspec.Struct, frozen=True):
    """The request was carried out."""

    method: Literal["subscribe", "unsubscribe"]
    req_id: int | str | None
    result: Subscribed
    success: bool = True


class Pong(msgspec.Struct, frozen=True):
    """Answer to `ping`."""

    req_id: int | str | None
    at_ms: int
    method: Literal["pong"] = "pong"


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


def encode(message: msgspec.Struct) -> bytes:
    """Make the text of one message, as UTF-8."""
    return msgspec.json.encode(message)


def update_message(update: Update) -> bytes:
    """Make the text that tells one update."""
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
