"""The peer of the feed: the `websockets` library's own server and its `broadcast`, same topic, same frames.

`python -m tests.bench.feed_peer BROKER PORT TOPIC` does the least that a broadcast server can: no snapshots, no
sequences that survive, no limits, no slow consumers.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer
from websockets.asyncio.server import ServerConnection, broadcast, serve

from api.messages import update_message
from api.views import Update
from tables.records import Candle


async def _run(broker: str, port: int, topic: str) -> None:
    listeners: dict[str, set[ServerConnection]] = {}

    async def talk(socket: ServerConnection) -> None:
        pair = msgspec.json.decode(await socket.recv())["params"]["pairs"][0]
        listeners.setdefault(pair, set()).add(socket)
        await socket.send('{"success":true}')
        await socket.wait_closed()
        listeners[pair].discard(socket)

    reader = AIOKafkaConsumer(topic, bootstrap_servers=broker, enable_auto_commit=False)
    await reader.start()
    seqs: Counter[str] = Counter()
    async with serve(talk, "127.0.0.1", port, compression=None, ping_interval=None):
        while True:
            for records in (await reader.getmany(timeout_ms=500, max_records=100)).values():
                for record in records:
                    candle = msgspec.json.decode(record.value, type=Candle)
                    seqs[candle.pair] += 1
                    update = Update("candles-live", candle.pair, seqs[candle.pair], record.offset, candle)
                    broadcast(listeners.get(candle.pair, ()), update_message(update).decode())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
