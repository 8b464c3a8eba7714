"""A real worker process on a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from redpanda.admin import apply, connect
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from tables.status import Status, read_status

__all__ = ["Worker", "everything", "own_broker"]

ROOT = Path(__file__).parents[2]


class Worker:
    """A real worker process with a folder of its own; `script` runs in place of `tickcast worker`."""

    def __init__(
        self,
        home: Path,
        broker_url: str,
        stages: str = "candles,features",
        script: Path | None = None,
        **environment: str,
    ) -> None:
        self.home = home
        self._command = [sys.executable, "-m", "app.cli", "worker"]
        if script is not None:
            self._command = [sys.executable, str(script), str(home)]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TICKCAST_HOME": str(home),
            "TICKCAST_BROKER_URL": broker_url,
            "TICKCAST_STAGES": stages,
            "TICKCAST_WORKER_PORT": str(free_port()),
            "TICKCAST_SESSION_TIMEOUT_S": "6",
            "TICKCAST_IDLE_CLOSE_MS": "3000",
            **environment,
        }
        self._log = (home / "worker.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs, or before the first start."""
        return None if self._process is None else self._process.poll()

    @property
    def started(self) -> bool:
        """Whether there was a start at all."""
        return self._process is not None

    def status(self) -> Status | None:
        """Give the status of the process that runs now, None before it wrote one."""
        status = read_status(self.home, "worker")
        return status if status and self._process and status.pid == self._process.pid else None

    def is_live(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "worker.log").read_text()[-3_000:]
        status = self.status()
        return status is not None and status.state == "live"

    def counters(self) -> dict[str, int]:
        """Give the counters of the process that runs now."""
        status = self.status()
        return status.counters if status else {}

    def is_drained(self) -> bool:
        """Tell whether nothing waits for any stage."""
        return self.is_live() and self.counters().get("lag") == 0

    def signal(self, number: int) -> None:
        """Send a signal to the process if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """Ask the process to end; kill it if it does not."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        self.stop()
        self._log.close()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerSettings]:
    """A broker of the test's own with all topics: the worker's names are fixed."""
    (tmp_path / "kafka").mkdir()
    with LocalBroker(tmp_path / "kafka", free_port()) as running:
        settings = BrokerSettings(broker_url=running.url)
        with connect(settings) as admin:
            apply(admin, settings)
        yield settings


def everything(settings: BrokerSettings, topic: str, partitions_of_topic: int | None = None) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=settings.broker_url, enable_auto_commit=False)
    partitions = [TopicPartition(topic, partition) for partition in range(partitions_of_topic or settings.partitions)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    values: list[bytes] = []
    while any(consumer.position(one) < ends[one] for one in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records]
    consumer.close()
    return values
