"""The changelog of one test, and worker processes that recover from it."""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from agents.changelogs import rows_header
from redpanda.groups import member_count
from redpanda.settings import BrokerSettings
from tables import rocks
from tests.support.changelog import cut_head
from tests.support.recovery_worker import topics
from tests.support.rows import publish_rows

__all__ = ["Rows", "Table", "recovered", "stop"]

ROOT = Path(__file__).parents[2]
Rows = dict[bytes, bytes]


class Table:
    """The changelog of one test, and the worker that recovers from it."""

    def __init__(self, name: str, broker: BrokerSettings, admin: KafkaAdminClient, folder: Path) -> None:
        self.name = name
        self.broker = broker
        self.folder = folder
        self.source, self.changelog = topics(name)
        self._admin = admin
        self._processes: list[subprocess.Popen[bytes]] = []
        self.rows: list[Rows] = [{} for _ in range(broker.partitions)]
        self.ends = [0] * broker.partitions
        self.make()
        made = {"num_partitions": broker.partitions, "replication_factor": 1}
        admin.create_topics({self.source: made}, wait_for_metadata=True)
        self.producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all", linger_ms=20)

    def make(self) -> None:
        """Make the changelog, empty."""
        made = {"num_partitions": self.broker.partitions, "replication_factor": 1}
        config = {"cleanup.policy": "compact"}
        self._admin.create_topics({self.changelog: {**made, "configs": config}}, wait_for_metadata=True)

    def send(self, partition: int, key: bytes, value: bytes | None, rows: int | None = None) -> None:
        """Send a row; `rows`: how many it says that there are."""
        headers = [] if rows is None else list(rows_header(rows).items())
        self.producer.send(self.changelog, key=key, value=value, partition=partition, headers=headers)
        self.ends[partition] += 1
        if value is None:
            self.rows[partition].pop(key, None)
        else:
            self.rows[partition][key] = value

    def send_many(self, count: int, chance: random.Random, keys: int = 500) -> None:
        """Send rows, newer rows and tombstones, by chance."""
        for _ in range(count):
            value = None if chance.random() < 0.2 else chance.randbytes(chance.randrange(200))
            self.send(chance.randrange(self.broker.partitions), b"key-%d" % chance.randrange(keys), value)
        self.producer.flush()

    def send_keys(self, count: int) -> None:
        """Send distinct keys, many."""
        rows = [(at % 4, b"key-%d" % at, b"." * 100) for at in range(count)]
        publish_rows(self.broker, self.changelog, rows)
        for partition, key, value in rows:
            self.rows[partition][key] = value
            self.ends[partition] += 1

    def drop_before(self, partition: int, offset: int) -> None:
        """Delete the head of a partition."""
        cut_head(self.broker, self.changelog, {partition: offset})

    def commit_source(self, offset: int) -> None:
        """Let the group have processed records of its source."""
        for partition in range(self.broker.partitions):
            self.producer.send(self.source, value=b"x", partition=partition)
        self.producer.flush()
        reached = OffsetAndMetadata(offset, "", -1)
        offsets = {TopicPartition(self.source, partition): reached for partition in range(self.broker.partitions)}
        member_count(self.broker, self.name)  # a broker that has just started refuses groups for a moment
        self._admin.alter_group_offsets(self.name, offsets)

    def start(self, folder: Path | None = None) -> subprocess.Popen[bytes]:
        target = folder or self.folder
        with (target.parent / f"{target.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.recovery_worker", "ours", str(target), self.name],
                cwd=ROOT,
                env={**os.environ, "TICKCAST_BROKER_URL": self.broker.broker_url},
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,  # or two lines could come at once, and the second be waited for
            )
        self._processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def recover(self) -> None:
        """Run the worker until it has recovered, and stop it."""
        process = self.start()
        assert recovered(process), self.log()[-3_000:]
        stop(process)

    def fails(self) -> str:
        """Run the worker until it ends by itself; give its log."""
        process = self.start()
        assert process.wait(60) != 0
        return self.log()

    def found(self, folder: Path | None = None) -> dict[int, tuple[Rows, int | None, int]]:
        """Rows, offset and number of writes of each partition on disk."""
        result = {}
        for one in rocks.folders((folder or self.folder) / "v1" / "tables"):
            db = rocks.open_folder(one.path, read_only=True)
            result[one.partition] = (dict(rocks.rows(db)), rocks.offset_of(db), db.latest_sequence_number())
            db.close()
        return result

    def assert_whole(self) -> None:
        found = self.found()
        assert {partition: rows for partition, (rows, _, _) in found.items()} == dict(enumerate(self.rows))
        assert [found[partition][1] for partition in range(len(self.ends))] == [end - 1 for end in self.ends]

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
            assert process.stdout is not None
            process.stdout.close()
        self.producer.close()


def recovered(process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> dict[str, Any]:
    """Wait for the next line of the worker that says that it has recovered."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(timeout_s), "nothing was said"
    found: dict[str, Any] = json.loads(process.stdout.readline() or b"{}")
    return found


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(30) == 0
