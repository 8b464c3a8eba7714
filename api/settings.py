"""Settings of the API. Environment prefix `TICKCAST_`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from api.access.settings import AccessSettings

__all__ = ["ApiSettings"]


class ApiSettings(AccessSettings):
    """Where the API listens, what it remembers and what one client may ask for."""

    source: str = Field(default="kraken", pattern=r"^([a-z][a-z0-9]*|replay:.+)$")
    """`kraken`, `coinbase`, `sim` or `replay:FILE`: the label where no record tells it (records carry their own)."""

    pairs: Annotated[tuple[str, ...], NoDecode] = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD")
    """Pairs that exist before their first record, separated by commas."""

    api_port: int = Field(default=18000, ge=0, le=65535)
    """TCP port; 0 takes a free one."""

    api_page_max: int = Field(default=1_000, ge=1, le=10_000)
    """Rows of one answer (count)."""

    feed_lookback: int = Field(default=5_000, ge=1, le=1_000_000)
    """Records read from each partition at start (count)."""

    feed_history: int = Field(default=500, ge=1, le=100_000)
    """Candles kept for each pair and timeframe (count)."""

    feed_ring: int = Field(default=1_000, ge=1, le=100_000)
    """Updates kept for each channel and pair, for clients that resume (count)."""

    feed_probe_s: float = Field(default=1.0, gt=0, le=60)
    """How often a quiet broker is asked for its end offsets, s. Three times as long makes it stale."""

    feed_backoff_max_s: float = Field(default=5.0, gt=0, le=300)
    """Cap of the wait between two tries to reach the broker, s."""

    ws_message_max_bytes: int = Field(default=4_096, ge=256, le=1_048_576)
    """Size of one message from a client, bytes."""

    ws_subscriptions_max: int = Field(default=100, ge=1, le=10_000)
    """Channel and pair combinations of one connection (count)."""

    ws_connections_max: int = Field(default=4_000, ge=1, le=100_000)
    """Open WebSocket connections of this process (count)."""

    ws_queue_max: int = Field(default=10_000, ge=1, le=100_000)
    """Messages that may wait for one client before it counts as slow and is dropped (count). All clients share
    the same text, so a long queue is cheap; a short one drops good clients in the burst after an outage."""

    ws_stall_s: float = Field(default=10.0, gt=0, le=300)
    """How long a full socket buffer may stay full before the client counts as slow, s."""

    ws_connections_per_address_max: int = Field(default=100, ge=1, le=100_000)
    """Open WebSocket connections of one IP address (count)."""

    ws_connections_per_key_max: int = Field(default=100, ge=1, le=100_000)
    """Open WebSocket connections of one API key (count)."""

    ws_messages_per_s: float = Field(default=20.0, gt=0, le=10_000)
    """Messages that one WebSocket client may send for long (count/s)."""

    ws_messages_burst: int = Field(default=100, ge=1, le=100_000)
    """Messages that it may send at once (count)."""

    ws_subscribe_within_s: float = Field(default=15.0, gt=0, le=3_600)
    """A client that has subscribed to nothing after this time is closed, s."""

    ws_idle_s: float = Field(default=60.0, gt=0, le=86_400)
    """A client that has no subscription left and says nothing for this time is closed, s."""

    feed_pairs_max: int = Field(default=2_000, ge=1, le=100_000)
    """Pairs that the API keeps; records of one more are bad input (count)."""

    @field_validator("pairs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip().upper() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @property
    def label(self) -> str:
        """`source` without the file name."""
        return self.source.partition(":")[0]
