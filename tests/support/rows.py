"""Many records into a topic at once, in whole batches: one `send` a record takes minutes for a million."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from redpanda.settings import BrokerSettings

__all__ = ["publish_rows"]

BATCH_BYTES = 256 * 1024


def publish_rows(broker: BrokerSettings, topic: str, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Send (partition, key, value) in order, and wait until the broker has all."""
    asyncio.run(_publish(broker, topic, rows))


async def _publish(broker: BrokerSettings, topic: str, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.broker_url, acks="all", compression_type="lz4", max_batch_size=BATCH_BYTES
    )
    await producer.start()
    batches: dict[int, Any] = {}
    try:
        for partition, key, value in rows:
            batch = batches.setdefault(partition, producer.create_batch())
            if batch.append(key=key, value=value, timestamp=None) is None:
                await producer.send_batch(batch, topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=value, timestamp=None)
        for partition, batch in batches.items():
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
