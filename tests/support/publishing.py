"""Trades and holes put to a real broker by the publisher of the product."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents.trades.publish import Publisher, open_producer
from tables.records import Trade

if TYPE_CHECKING:
    from agents.trades.source import Batch
    from redpanda.settings import BrokerSettings

__all__ = ["one", "publish"]


def one(pair: str, number: int) -> Trade:
    """Make the trade of an id, a nanosecond after the one before it."""
    return Trade(pair, number, 1_700_000_000_000_000_000 + number, 1.0, 1.0, "buy", "", "sim")


def publish(broker: BrokerSettings, *batches: Batch) -> Publisher:
    """Publish batches in order, until all are acknowledged; give the publisher for its counters."""

    async def go() -> Publisher:
        publisher = Publisher(open_producer(broker), 0, 100_000)
        for batch in batches:
            await publisher.publish(batch)
        await publisher.drain()
        await publisher.close(5.0)
        return publisher

    return asyncio.run(go())
