"""A worker with one table, in a process of its own: it says on stdout, as JSON, when and how fast it has recovered.

`ours` is the worker's own recovery, `stock` is Faust's, on the same changelog and with the same RocksDB settings.
Run by tests/bench/recovery and tests/agents/test_recovery.
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
from agents.chunk_app import ChunkApp
from redpanda.settings import BrokerSettings

DEADLINE_S = 8.0
# What tables/rocks.py sets, in Faust's words.
ROCKSDB = {
    "driver": "rocksdict",
    "block_cache_size": 8 << 20,
    "write_buffer_size": 4 << 20,
    "max_open_files": 64,
    "bloom_filter_size": 10,
}


def topics(name: str) -> tuple[str, str]:
    """Name the source and the changelog of the table `name`."""
    return f"{name}-source", f"{name}-changelog"


def build(kind: str, broker: BrokerSettings, folder: Path, name: str) -> faust.App:
    source, changelog = topics(name)
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
    app = ChunkApp(name, **common) if kind == "ours" else faust.App(name, **common)
    options: dict[str, Any] = {"source": source, "outputs": (source,)} if kind == "ours" else {"options": dict(ROCKSDB)}
    table = app.Table(
        "table",
        partitions=broker.partitions,
        key_type=bytes,
        value_type=bytes,
        changelog_topic=app.topic(changelog, key_serializer="raw", value_serializer="raw", internal=False),
        **options,
    )
    if isinstance(app, ChunkApp):
        app.tables.facts = Facts(broker)  # type: ignore[attr-defined]  # of our table manager
        app.tables.deadline_s = DEADLINE_S  # type: ignore[attr-defined]  # likewise
        app.chunk_handlers[source] = 1

    async def agent(stream: Any) -> None:
        async for _ in stream:
            pass

    app.agent(app.topic(source, key_serializer="raw", value_serializer="raw"))(agent)
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
            "partitions": sorted(tp.partition for tp in app.assignor.assigned_actives() if tp.topic == changelog),
        }
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()

    return app


if __name__ == "__main__":
    uvloop.install()
    running = build(sys.argv[1], BrokerSettings(), Path(sys.argv[2]), sys.argv[3])
    faust.Worker(running, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
