"""Several ingest processes of one pair on a real broker: one publishes, the next one follows, and no trade is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agents.trades.keeper import LeaseKeeper
from redpanda import admin
from redpanda.errors import ConfigError
from redpanda.topics import TopicSpec
from tables.candles import PairCandles
from tables.status import read_status
from tests.support.candle_fold import FOREVER_NS, NOTHING, RULES
from tests.support.ingest import IngestStack, published, wait_for
from tests.support.reference import differences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

pytestmark = [pytest.mark.component, pytest.mark.proof]


@pytest.fixture(scope="module", autouse=True)
def topics(broker_admin: KafkaAdminClient, broker_settings: BrokerSettings) -> None:
    admin.apply(broker_admin, broker_settings)


class Node:
    """One ingest process in a folder of its own."""

    def __init__(self, stack: IngestStack, process: subprocess.Popen[str]) -> None:
        self.stack, self.process = stack, process

    def published(self) -> int:
        return self.stack.count("published", self.process)

    def stop_between_batches(self) -> None:
        """SIGSTOP with nothing on its way: one between the look at the lease and the write makes repeats (ADR 0016)."""
        before = self._figure("published_trades_total")
        wait_for(lambda: self._figure("published_trades_total") > before and self._figure("in_flight_records") == 0)
        os.kill(self.process.pid, signal.SIGSTOP)

    def _figure(self, name: str) -> float:
        _, text = self.stack.page("/metrics")
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"tickcast_ingest_{name} ")))

    def is_standby(self, of: Node) -> bool:
        code, text = self.stack.page("/ready")
        return code == 503 and f":{of.process.pid} holds the lease" in text and "standby: " in text

    def is_ready(self) -> bool:
        return self.stack.get("/ready") == 200


@contextmanager
def two(
    folder: Path, broker: BrokerSettings, pair: str, lease_s: float = 5.0, **settings: str
) -> Iterator[tuple[Node, Node]]:
    """Start an exchange and two processes; the first is active, the second stands by."""
    first = IngestStack(folder, broker, TICKCAST_PAIRS=pair, TICKCAST_LEASE_S=str(lease_s), **settings)
    (folder / "second").mkdir()
    more = {name: first.environment[name] for name in ("TICKCAST_PAIRS", "TICKCAST_LEASE_S", "TICKCAST_SIM_PORT")}
    second = IngestStack(folder / "second", broker, **more)
    with first.runs("sim"), first.runs("ingest") as one:
        active = Node(first, one)
        wait_for(lambda: active.published() > 300 and active.is_ready())
        with second.runs("ingest") as other:
            standby = Node(second, other)
            wait_for(lambda: standby.is_standby(of=active))
            # It may share a folder with the active one, whose file it must not write over.
            wait_for(lambda: (told := read_status(second.home, "ingest-standby")) is not None and told.pid == other.pid)
            assert second.get("/health") == 200
            assert standby.published() == 0
            yield active, standby


def check(broker: BrokerSettings, pair: str) -> None:
    """Every id once and in order, and the candles of the log are those of a sorted batch."""
    trades = published(broker, pair)
    ids = [trade.trade_id for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    fold = PairCandles(pair, RULES, NOTHING.get)
    fold.apply(trades, FOREVER_NS)
    output = fold.settle(trades[-1].ts_ns // 1_000_000 + 400 * 86_400_000)
    candles = {(candle.timeframe, candle.open_ms): candle for candle in output.candles}
    assert differences(sorted(trades, key=lambda trade: trade.trade_id), candles) == {
        "missing": [],
        "extra": [],
        "different": [],
    }


def test_a_killed_process_is_followed_within_ten_seconds_and_no_trade_is_lost(
    tmp_path: Path, broker_settings: BrokerSettings
) -> None:
    pair = "FOLLOW/USD"
    with two(tmp_path, broker_settings, pair) as (active, standby):
        killed_s = time.monotonic()
        os.kill(active.process.pid, signal.SIGKILL)
        wait_for(lambda: standby.published() > 0)
        took_s = time.monotonic() - killed_s
        print(f"failover after a kill: {took_s:.2f} s")
        assert 3.0 < took_s < 10.0
        wait_for(lambda: standby.published() > 3_000 and standby.is_ready())
    check(broker_settings, pair)


def test_a_process_that_stops_in_order_is_followed_at_once(tmp_path: Path, broker_settings: BrokerSettings) -> None:
    pair = "ORDERLY/USD"
    with two(tmp_path, broker_settings, pair, lease_s=20.0) as (active, standby):
        os.kill(active.process.pid, signal.SIGTERM)
        assert active.process.wait(10) == 0
        ended_s = time.monotonic()
        wait_for(lambda: standby.published() > 0)
        took_s = time.monotonic() - ended_s
        print(f"failover after a stop: {took_s:.2f} s")
        assert took_s < 5.0
    check(broker_settings, pair)


def test_a_process_that_slept_through_its_lease_sends_nothing_more_and_stands_by(
    tmp_path: Path, broker_settings: BrokerSettings
) -> None:
    pair = "SLEEPER/USD"
    # Two batches a second: the next one is far when the sleeper is stopped behind one.
    with two(tmp_path, broker_settings, pair, TICKCAST_SIM_TICK_MS="500") as (sleeper, other):
        sleeper.stop_between_batches()
        wait_for(lambda: other.published() > 500)
        os.kill(sleeper.process.pid, signal.SIGCONT)
        wait_for(lambda: sleeper.is_standby(of=other))
        os.kill(other.process.pid, signal.SIGTERM)
        assert other.process.wait(10) == 0
        wait_for(lambda: sleeper.is_ready() and sleeper.published() > 0)
    check(broker_settings, pair)


def test_a_process_alone_has_its_lease_within_a_second(broker_settings: BrokerSettings) -> None:
    async def start(pair: str) -> float:
        keeper = LeaseKeeper(broker_settings, (pair,), 5.0)
        started_s = time.monotonic()
        await asyncio.to_thread(keeper.start)
        try:
            async with asyncio.timeout(10.0):
                await keeper.acquired()
            assert keeper.is_valid()
            return time.monotonic() - started_s
        finally:
            await asyncio.to_thread(keeper.close)

    # The best of three: other processes share the machine.
    took_s = min(asyncio.run(start(pair)) for pair in ("ALONE/USD", "ALONE2/USD", "ALONE3/USD"))
    print(f"lease of a process alone: {took_s:.2f} s")
    assert took_s < 1.0


def test_a_topic_of_leases_with_several_partitions_is_refused(
    broker_admin: KafkaAdminClient, broker_settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "ingest-leases-wrong"
    admin.apply(broker_admin, broker_settings, topics=[TopicSpec(wrong, "a test's", "compact", -1)])
    monkeypatch.setattr("agents.trades.keeper.LEASES", wrong)

    async def start() -> None:
        await asyncio.to_thread(LeaseKeeper(broker_settings, ("A/B",), 5.0).start)

    with pytest.raises(ConfigError, match="has 4 partitions and must have one"):
        asyncio.run(start())
