"""A broker and a store of the benchmark's own, and one worker process a run."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from redpanda.admin import apply, connect, end_offsets, last_records
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.local.tether import tethered
from redpanda.settings import BrokerSettings
from redpanda.topics import TRADES
from tables.clickhouse import migrate
from tables.clickhouse.client import connect as connect_store
from tables.records import Trade
from tables.status import Status, read_status
from tests.support.store import StoreProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["BenchError", "Child", "Stack", "running"]

ROOT = Path(__file__).parents[2]
BATCH_BYTES = 256 * 1024
"""As the ingest service publishes."""
STUCK_AFTER_S = 120.0


class BenchError(Exception):
    """A run that does not count: something ended, hung, or came out wrong."""


class Child:
    """A process of ours with a log file; it ends with this one, however that ends."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                tethered([sys.executable, *command]),
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=out,
                stderr=out,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raise BenchError once the process has ended."""
        if (code := self._process.poll()) is not None:
            raise BenchError(f"a process ended with {code}:\n{self._log.read_text()[-3_000:]}")

    def wait_until(self, done: Callable[[], int], total: int, tell: Callable[[int], object]) -> None:
        """Wait until `done` reaches `total`; BenchError where nothing moves for two minutes."""
        reached = -1

        def moved() -> bool:
            self.check()
            return done() != reached

        while reached < total:
            try:
                wait_for(moved, STUCK_AFTER_S, every_s=0.25)
            except AssertionError:
                log = self._log.read_text()[-3_000:]
                raise BenchError(f"stuck at {reached:,} of {total:,} for {STUCK_AFTER_S:g} s:\n{log}") from None
            reached = done()
            tell(min(reached, total))

    def finish(self, limit_s: float, tell: Callable[[], object]) -> None:
        """Wait until it ends by itself; BenchError where that takes too long or its exit code is not 0."""

        def ended() -> bool:
            tell()
            return self._process.poll() is not None

        try:
            wait_for(ended, limit_s, every_s=0.25)
        except AssertionError as error:
            raise BenchError(f"a process is not through ({error}):\n{self._log.read_text()[-3_000:]}") from None
        if self._process.returncode:
            self.check()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to end; kill it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Stack:
    """What all runs share."""

    def __init__(self, home: Path, broker: BrokerSettings, store: StoreProcess | None) -> None:
        self.home = home
        self.broker = broker
        self.broker_pid = 0
        self._store = store
        self._admin: Any = connect(broker)

    def close(self) -> None:
        self._admin.close()

    def database(self, name: str) -> Client:
        """Open a database of the store with empty tables."""
        if self._store is None:
            raise BenchError("this stack runs without a store")
        client = connect_store(self._store.settings(name))
        migrate.apply(client)
        return client

    def fill(self, parts: Iterator[tuple[str, list[Trade]]], tell: Callable[[int], object]) -> int:
        """Put envelopes into a fresh topic `trades`; gives the number of records."""
        self._delete({TRADES})
        apply(self._admin, self.broker)
        return asyncio.run(_publish(self.broker, parts, tell))

    def add(self, parts: Iterator[tuple[str, list[Trade]]], tell: Callable[[int], object] = lambda _: None) -> int:
        """Put more envelopes into `trades`; gives the number of records."""
        return asyncio.run(_publish(self.broker, parts, tell))

    def reset(self) -> None:
        """Forget everything but `trades` and the store: topics, changelogs, groups."""
        groups = [group["group_id"] for group in self._admin.list_groups()]
        if groups:
            self._admin.delete_groups(groups)
        self._delete({name for name in self._topics() if name != TRADES and not name.startswith("__")})
        apply(self._admin, self.broker)
        shutil.rmtree(self.home / "run", ignore_errors=True)
        (self.home / "run").mkdir()

    def create_topic(self, name: str) -> None:
        """Make an output topic of the peer, laid out as ours."""
        settings = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        wanted = {"num_partitions": self.broker.partitions, "replication_factor": 1, "configs": settings}
        self._admin.create_topics({name: wanted}, wait_for_metadata=True)

    def _topics(self) -> set[str]:
        return {row["name"] for row in self._admin.describe_topics()}

    def _delete(self, names: set[str]) -> None:
        if names := names & self._topics():
            self._admin.delete_topics(sorted(names))
            wait_for(lambda: not names & self._topics(), 30)

    def records(self, topic: str) -> int:
        """Count the records of a topic that nothing was compacted out of."""
        return sum(end_offsets(self.broker, [topic]).values())

    def last_append_ms(self, topic: str) -> int:
        """Broker's time of the last record of a topic."""
        return max(row.timestamp_ms for rows in last_records(self.broker, topic, 1).values() for row in rows)

    def worker(self, database: str, stages: str, name: str = "0", **more: str) -> Child:
        """Start one worker: `candles`, or `candles,sinks` to store them too; `more` goes to its environment."""
        env = {
            "TICKCAST_WORKER_NAME": name,
            "TICKCAST_HOME": str(self.home / "run"),
            "TICKCAST_BROKER_URL": self.broker.broker_url,
            "TICKCAST_STAGES": stages,
            "TICKCAST_WORKER_PORT": str(free_port()),
            # The watermark closes every candle; the wall clock must not close the day of the last trade.
            "TICKCAST_IDLE_CLOSE_MS": "3600000",
        }
        if self._store is not None:
            env |= {
                "TICKCAST_CLICKHOUSE_URL": f"local://{self._store.folder}",
                "TICKCAST_STORE_PORT": str(self._store.port),
                "TICKCAST_CLICKHOUSE_DATABASE": database,
            }
        return Child(["-m", "app.cli", "worker"], env | more, self.home / "run" / f"worker-{name}.log")

    def status(self, worker: Child, name: str = "0") -> Status | None:
        """Give what the worker said last."""
        status = read_status(self.home / "run", "worker" if name == "0" else f"worker-{name}")
        return status if status is not None and status.pid == worker.pid else None


async def _publish(
    broker: BrokerSettings, parts: Iterator[tuple[str, list[Trade]]], tell: Callable[[int], object]
) -> int:
    """Send whole batches: a producer's `send` a record would take minutes for a million of them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.broker_url,
        acks="all",
        compression_type="lz4",
        max_batch_size=BATCH_BYTES,
        max_request_size=8 << 20,
    )
    await producer.start()
    encode = msgspec.json.Encoder().encode
    batches: dict[int, Any] = {}
    sent, records = 0, 0

    async def flush(partition: int) -> None:
        await producer.send_batch(batches.pop(partition), TRADES, partition=partition)
        tell(sent)

    try:
        for pair, trades in parts:
            key, value = pair.encode(), encode(trades)
            partition = (murmur2(key) & 0x7FFFFFFF) % broker.partitions
            batch = batches.setdefault(partition, producer.create_batch())
            if batch.append(key=key, value=value, timestamp=None) is None:
                await flush(partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=key, value=value, timestamp=None)
            sent, records = sent + len(trades), records + 1
        for partition in list(batches):
            await flush(partition)
        await producer.flush()
    finally:
        await producer.stop()
    return records


@contextmanager
def running(home: Path, *, with_store: bool = True) -> Iterator[Stack]:
    """Run a broker and (unless told not to) a store on free ports with everything below `home`."""
    with ExitStack() as parts:
        (home / "broker").mkdir(parents=True)
        broker = parts.enter_context(LocalBroker(home / "broker", free_port()))
        store = StoreProcess(home, port=free_port()) if with_store else None
        if store is not None:
            store.start()
            parts.callback(store.stop)
        stack = Stack(home, BrokerSettings(broker_url=broker.url), store)
        parts.callback(stack.close)
        stack.broker_pid = broker.pid or 0
        yield stack
