"""The measuring reader: notes the wall clock at which each record of some topics is seen. A process of its own.

`python -m tests.bench.probe BROKER OUT PARTITIONS TOPIC...` reads from the ends of the topics, touches OUT.ready, and
at SIGTERM reads on to their ends and writes what it saw to OUT. It decodes nothing meanwhile and asks the broker to
answer at the first byte: it adds a hop through the loopback and nothing else; `Seen.appended_ms` lets anyone check.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from pathlib import Path

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

__all__ = ["Seen", "read"]

POLL_MS = 500


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One record as it was seen."""

    topic: str
    key: bytes
    value: bytes
    appended_ms: int
    """The broker's clock."""
    seen_ns: int
    """The reader's clock."""


def read(file: Path) -> list[Seen]:
    """Read what a probe wrote; records of a partition are in their order."""
    return msgspec.msgpack.decode(file.read_bytes(), type=list[Seen])


async def _watch(broker: str, out: Path, partitions: int, topics: list[str]) -> list[Seen]:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    reader = AIOKafkaConsumer(
        bootstrap_servers=broker, enable_auto_commit=False, fetch_min_bytes=1, fetch_max_wait_ms=POLL_MS
    )
    await reader.start()
    seen: list[Seen] = []

    async def poll() -> None:
        for place, records in (await reader.getmany(timeout_ms=POLL_MS)).items():
            now_ns = time.time_ns()
            seen.extend(Seen(place.topic, one.key or b"", one.value or b"", one.timestamp, now_ns) for one in records)

    try:
        places = [TopicPartition(topic, one) for topic in topics for one in range(partitions)]
        reader.assign(places)
        await reader.seek_to_end(*places)
        for place in places:
            await reader.position(place)
        out.with_suffix(".ready").touch()
        gc.freeze()
        gc.disable()  # it only ever appends
        while not stop.is_set():
            await poll()
        ends = await reader.end_offsets(places)
        while any([await reader.position(place) < ends[place] for place in places]):
            await poll()
    finally:
        await reader.stop()
    return seen


def main(broker: str, out: Path, partitions: int, topics: list[str]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(_watch(broker, out, partitions, topics))
    out.write_bytes(msgspec.msgpack.encode(seen))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
