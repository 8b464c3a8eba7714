from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.client import FeedClient, Gap, Snapshot, Update
from api.views import Record
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from tables.clickhouse.settings import StoreSettings
from tables.records import Candle
from tests.api.stack import Topics
from tests.bench.stack import Child
from tests.support.samples import START_MS, candle

pytestmark = [pytest.mark.component, pytest.mark.proof]
WAIT_S = 90.0
PAIRS = ("KILL/USD", "LOST/USD")
CLIENTS = 3


class Flow:
    """Candles without end, in a thread."""

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url
        self._stop = threading.Event()
        self.sent = 0

    def _run(self) -> None:
        with Topics(self._broker_url) as topics:
            while not self._stop.wait(0.02):
                topics.put("candles", [candle(self.sent, pair) for pair in PAIRS])
                self.sent += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(timeout=20)


class Follower:
    """One client and what it was told."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {pair: [] for pair in PAIRS}
        self.gaps: list[Gap] = []

    async def run(self, url: str) -> None:
        async with FeedClient(url, proxy=None, answer_s=WAIT_S, backoff_max_s=0.3) as feed:
            await feed.subscribe("candles", PAIRS)
            async for event in feed:
                if isinstance(event, Gap):
                    self.gaps.append(event)
                elif isinstance(event, Snapshot):
                    self.rows[event.pair] += [index(record) for record in event.records]
                elif isinstance(event, Update):
                    self.rows[event.pair].append(index(event.record))

    def last(self) -> int:
        return min(rows[-1] if rows else -1 for rows in self.rows.values())


def index(record: Record) -> int:
    assert isinstance(record, Candle)
    return (record.open_ms - START_MS) // 60_000


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # conditions of other threads and processes
            await asyncio.sleep(0.02)


def test_kills_of_the_api_cost_no_client_a_record(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings
) -> None:
    """Records flow all the time, while the process is up and while it is down."""
    port = free_port()
    env = {
        "TICKCAST_API_PORT": str(port),
        "TICKCAST_HOME": str(home),
        "TICKCAST_BROKER_URL": api_broker.url,
        "TICKCAST_CLICKHOUSE_URL": store_settings.clickhouse_url,
        "TICKCAST_FEED_RING": "5000",
        "TICKCAST_FEED_LOOKBACK": "20000",
    }
    flow, followers = Flow(api_broker.url), [Follower() for _ in range(CLIENTS)]

    async def talk() -> None:
        tasks = [asyncio.create_task(one.run(f"http://127.0.0.1:{port}")) for one in followers]
        for number in (signal.SIGKILL, signal.SIGTERM, None):
            child = Child(["-m", "app.cli", "api"], env, home / "api.log")
            mark = flow.sent
            await until(lambda mark=mark: min(one.last() for one in followers) >= mark + 20)  # type: ignore[misc]  # mypy takes a default for an argument
            if number is not None:
                child.signal(number)
                down = flow.sent
                await until(lambda down=down: flow.sent >= down + 20)  # type: ignore[misc]  # as above
            await asyncio.to_thread(child.stop)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with flow.running():
        asyncio.run(talk())
    for one in followers:
        assert one.gaps == []
        for rows in one.rows.values():
            assert rows == list(range(rows[0], rows[-1] + 1))
