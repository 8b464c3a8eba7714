"""One recovery in a process of its own; run by tests/bench/recovery. It says on stdout how long it took, as JSON.

`ours` is the worker's own recovery, `stock` is Faust's, on the same changelog and with the same RocksDB settings.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import faust
import uvloop

from agents.changelogs import Facts
from agents.chunks import ChunkApp
from redpanda.settings import BrokerSettings

SOURCE = "bench-source"
CHANGELOG = "bench-changelog"
GROUP = "bench-recovery"
# What tables/rocks.py sets, in Faust's words.
ROCKSDB = {
    "driver": "rocksdict",
    "block_cache_size": 8 << 20,
    "write_buffer_size": 4 << 20,
    "max_open_files": 64,
    "bloom_filter_size": 10,
}


def build(kind: str, broker: BrokerSettings, folder: Path) -> faust.App:
    common: dict[str, Any] = {
        "broker": f"kafka://{broker.broker_url}",
        "store": "rocksdb://",
        "datadir": str(folder),
        "topic_partitions": broker.partitions,
        "topic_allow_declare": True,
        "topic_disable_leader": True,
        "broker_session_timeout": 6.0,
        "consumer_auto_offset_reset": "earliest",
        "web_enabled": False,
        "autodiscover": False,
        "loghandlers": [],
    }
    app = ChunkApp(GROUP, **common) if kind == "ours" else faust.App(GROUP, **common)
    options: dict[str, Any] = {"source": SOURCE} if kind == "ours" else {"options": dict(ROCKSDB)}
    table = app.Table(
        "bench",
        partitions=broker.partitions,
        key_type=bytes,
        value_type=bytes,
        changelog_topic=app.topic(CHANGELOG, key_serializer="raw", value_serializer="raw", internal=False),
        **options,
    )
    if isinstance(app, ChunkApp):
        app.tables.facts = Facts(broker)  # type: ignore[attr-defined]  # of our table manager
        app.chunk_handlers[SOURCE] = 1

    async def agent(stream: Any) -> None:
        async for _ in stream:
            pass

    app.agent(app.topic(SOURCE, key_serializer="raw", value_serializer="raw"))(agent)
    started_s = time.monotonic()
    assigned: list[tuple[float, float]] = []

    @app.on_partitions_assigned.connect
    async def note(*_: Any, **__: Any) -> None:
        assigned.append((time.monotonic(), time.process_time()))

    @table.on_recover
    async def done() -> None:
        now_s, (assigned_s, cpu_s) = time.monotonic(), assigned[-1]
        found = {
            "seconds": now_s - assigned_s,
            "cpu_s": time.process_time() - cpu_s,
            "since_start_s": now_s - started_s,
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()

    return app


if __name__ == "__main__":
    uvloop.install()
    running = build(sys.argv[1], BrokerSettings(), Path(sys.argv[2]))
    faust.Worker(running, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
