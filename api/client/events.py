"""What the client tells."""

from __future__ import annotations

import msgspec

from api.views import Channel, Record

__all__ = ["Event", "Gap", "Snapshot", "State", "Update"]


class Snapshot(msgspec.Struct, frozen=True):
    """Where a channel of a pair stands: the newest record of each horizon (and model) or timeframe; may be empty."""

    channel: Channel
    pair: str
    seq: int
    cursor: int
    source: str
    simulated: bool
    """The data is made up by the market simulator."""
    records: list[Record]


class Update(msgspec.Struct, frozen=True):
    """One new record. Each comes once and in order, also over lost connections."""

    channel: Channel
    pair: str
    seq: int
    cursor: int
    source: str
    simulated: bool
    record: Record


class Gap(msgspec.Struct, frozen=True):
    """Updates after `cursor` may be missing: the server no longer keeps them. A `Snapshot` follows."""

    channel: Channel
    pair: str
    cursor: int
    reason: str
    """`too-old`, or `feed-reset` where the log was cut or made anew."""


class State(msgspec.Struct, frozen=True):
    """The connection has changed."""

    connected: bool
    stale: bool
    """Connected, but the server has lost its broker: what it shows may be old."""
    reason: str
    """Why it is not connected."""


Event = Snapshot | Update | Gap | State
