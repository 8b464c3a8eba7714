"""`tickcast rebuild` on a real broker and a real store: what comes out equals the recompute, to the last bit."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka.partitioner import murmur2
from kafka import KafkaProducer

from agents.changelogs import Facts
from redpanda.admin import connect, last_records
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLE_STATE, CANDLES, FEATURE_STATE, TRADES, changelog
from tables.clickhouse import queries
from tables.records import TIMEFRAME_MS, Candle, Side, Trade
from tests.support.changelog import cut_head
from tests.support.reference import differences
from tests.support.store import StoreProcess, store, store_client, store_database, store_settings
from tests.support.waiting import wait_for
from tests.support.worker import ROOT, Worker, everything, own_broker

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = [pytest.mark.component, pytest.mark.proof, pytest.mark.timeout(600)]
__all__ = ["own_broker", "store", "store_client", "store_database", "store_settings"]

START_MS = 1_526_241_600_000  # 2018-05-13T20:00:00Z
HOUR_MS = 3_600_000
MIDNIGHT_MS = START_MS + 4 * HOUR_MS
END_MS = START_MS + 8 * HOUR_MS
PAIRS = ("BTC/USD", "ETH/USD")
VERSION = ("as_of", "revision", "closed_by")
"""Columns that tell how a row came about, and not what it says."""


class Case:
    """A stack of broker, store and worker, trades around a midnight, and what they must become."""

    def __init__(self, home: Path, broker: BrokerSettings, store: StoreProcess, client: Client, seed: int) -> None:
        self.chance = random.Random(seed)
        self.broker = broker
        self.client = client
        shared = {
            "TICKCAST_CLICKHOUSE_URL": f"local://{store.folder}",
            "TICKCAST_STORE_PORT": str(store.port),
            "TICKCAST_CLICKHOUSE_DATABASE": str(client.database),
            "TICKCAST_IDLE_CLOSE_MS": "1000",
        }
        self.environment = {**shared, "TICKCAST_BROKER_URL": broker.broker_url, "TICKCAST_HOME": str(home)}
        self.worker = Worker(home, broker.broker_url, "candles,features,sinks", None, **shared)
        self.trades = {pair: self._draw(pair) for pair in PAIRS}
        self.producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all", linger_ms=20)
        self._publish()

    def _draw(self, pair: str) -> list[Trade]:
        at_ms, price = START_MS + self.chance.randrange(600_000), 100.0
        found: list[Trade] = []
        while at_ms < END_MS:
            price = round(max(1.0, price * self.chance.gauss(1, 0.002)), 2)
            qty = round(self.chance.uniform(0.001, 5), 8)
            side: Side = "buy" if self.chance.random() < 0.5 else "sell"
            found.append(Trade(pair, len(found) + 1, at_ms * 1_000_000, price, qty, side, "market", "replay"))
            at_ms += int(self.chance.expovariate(1 / 90_000)) + 1
        return found

    def _publish(self) -> None:
        parts = [
            (trades[at].ts_ns, pair, trades[at : at + 3])
            for pair, trades in self.trades.items()
            for at in range(0, len(trades), 3)
        ]
        for _, pair, part in sorted(parts, key=lambda one: one[0]):
            self.producer.send(TRADES, key=pair.encode(), value=msgspec.json.encode(part))
        self.producer.flush()

    def work(self) -> None:
        """Let the worker do all that there is to do, and stop it."""
        self.worker.start()
        self.finish()

    def finish(self) -> None:
        """Wait until nothing is left, and stop the worker."""
        wait_for(lambda: self.worker.is_drained() and self._is_complete(), 120, every_s=0.5)
        self.worker.stop()
        assert self.worker.exit_code == 0

    def _is_complete(self) -> bool:
        """Tell whether the last candles of all pairs are stored, and as many features."""
        rows = self.client.query(
            "SELECT count(), (SELECT count() FROM features FINAL) FROM candles FINAL WHERE closed"
        ).result_rows[0]
        last = {info.pair: info.last_ms for info in queries.pairs(self.client)}
        expected = {pair: trades[-1].ts_ns // 60_000_000_000 * 60_000 for pair, trades in self.trades.items()}
        return rows[0] == rows[1] and all(last.get(pair, 0) >= open_ms for pair, open_ms in expected.items())

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *words],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def rebuild(self, *words: str) -> str:
        done = self.run("rebuild", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, table: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Everything that a table says, by pair, timeframe and time."""
        found = self.client.query(f"SELECT * EXCEPT ({', '.join(VERSION)}) FROM {table} FINAL")  # noqa: S608  # constants
        # A feature that is not warm is NaN, and that equals nothing.
        return {tuple(row[:3]): tuple(map(repr, row[3:])) for row in found.result_rows}

    def judge(self) -> None:
        """Compare the candles in the store, and the last word of the topic on each, with the recompute."""
        said: dict[str, dict[tuple[str, int], Candle]] = {pair: {} for pair in PAIRS}
        for value in everything(self.broker, CANDLES):
            candle = msgspec.json.decode(value, type=Candle)
            said[candle.pair][candle.timeframe, candle.open_ms] = candle
        for pair, trades in self.trades.items():
            stored = {
                (candle.timeframe, candle.open_ms): candle
                for timeframe in TIMEFRAME_MS
                for candle in queries.candles(self.client, pair, timeframe, 0, 10**13, queries.MAX_LIMIT)
            }
            for found in (stored, said[pair]):
                wrong = {name: rows[:3] for name, rows in differences(trades, found).items() if rows}
                assert not wrong, (pair, wrong)

    def publish_wrong_candles(self, pair: str, from_ms: int) -> None:
        """Say wrong things about times from `from_ms` on; the sinks and the features take them."""
        wrong = [
            msgspec.structs.replace(candle, close=candle.close * 2, high=candle.high * 2, as_of_ms=candle.as_of_ms + 1)
            for candle in queries.candles(self.client, pair, "1m", from_ms, 10**13, 50)
        ]
        assert wrong
        partition = self.partition(pair)
        for candle in wrong:
            self.producer.send(CANDLES, key=pair.encode(), value=msgspec.json.encode(candle), partition=partition)
        self.producer.flush()

    def cut_what_is_superseded(self) -> int:
        """Cut each changelog as far as no key is lost; give how many records are gone."""
        gone = 0
        for table in (CANDLE_STATE, FEATURE_STATE):
            cuts = {}
            for partition, rows in last_records(self.broker, changelog(table), 1 << 60).items():
                if rows:
                    cuts[partition] = min({row.key: row.offset for row in rows}.values())
                    gone += cuts[partition] - rows[0].offset
            cut_head(self.broker, changelog(table), cuts)
        return gone

    def assert_changelogs_count_their_rows(self) -> None:
        for table in (CANDLE_STATE, FEATURE_STATE):
            tallies = [Facts(self.broker).tally(changelog(table), number) for number in range(self.broker.partitions)]
            assert sum(len(one.keys) for one in tallies) == len(PAIRS) * (1 if table == CANDLE_STATE else 6)
            assert all(one.is_whole for one in tallies if one.keys)

    def partition(self, pair: str) -> int:
        return int(murmur2(pair.encode()) & 0x7FFFFFFF) % self.broker.partitions

    def close(self) -> None:
        self.worker.close()
        self.producer.close()


@pytest.fixture
def case(
    tmp_path: Path, own_broker: BrokerSettings, store: StoreProcess, store_client: Client, seed: int
) -> Iterator[Case]:
    made = Case(tmp_path, own_broker, store, store_client, seed)
    yield made
    made.close()


def test_lost_changelogs_end_the_worker_and_a_rebuild_gives_everything_back(case: Case, tmp_path: Path) -> None:
    case.worker.start()
    wait_for(case.worker.is_live, 60)
    refused = case.run("rebuild")
    assert refused.returncode == 2
    assert "1 workers of group tickcast run" in refused.stderr
    case.finish()
    case.judge()
    candles, features = case.rows("candles"), case.rows("features")
    said = case.rebuild("--dry-run")
    assert "nothing was changed" in said
    unknown = case.run("rebuild", "--pairs", "XXX/USD")
    assert unknown.returncode == 2
    assert "there are no trades of XXX/USD in the log" in unknown.stderr
    with connect(case.broker) as admin:
        admin.delete_topics([changelog(CANDLE_STATE), changelog(FEATURE_STATE)])
    shutil.rmtree(tmp_path / "worker")
    case.worker.start()
    wait_for(lambda: case.worker.exit_code is not None, 60)
    assert case.worker.exit_code == 2
    last = (tmp_path / "worker.log").read_text().strip().splitlines()[-1]
    assert last.startswith("error: the changelog tickcast-"), last
    assert "`tickcast rebuild`" in last

    said = case.rebuild()
    assert "now start the workers" in said
    case.assert_changelogs_count_their_rows()
    case.work()
    case.judge()
    assert case.rows("candles") == candles
    assert case.rows("features") == features


def test_rebuild_of_one_pair_from_a_day_on_mends_what_is_wrong_and_leaves_the_rest(case: Case, tmp_path: Path) -> None:
    case.work()
    case.assert_changelogs_count_their_rows()
    assert case.cut_what_is_superseded() > 0
    shutil.rmtree(tmp_path / "worker")
    candles, features = case.rows("candles"), case.rows("features")
    case.publish_wrong_candles("BTC/USD", START_MS + 6 * HOUR_MS)
    case.work()
    assert case.rows("candles") != candles
    assert case.rows("features") != features

    said = case.rebuild("--from", "2018-05-14T02:00:00Z", "--pairs", "btc/usd")
    assert f"from 2018-05-14T00:00:00Z, trades of partition {case.partition('BTC/USD')}" in said
    kept = {key for key in case.rows("candles") if key[0] == "BTC/USD"}
    assert {int(key[2].timestamp() * 1_000) < MIDNIGHT_MS for key in kept} == {True}
    case.work()
    case.judge()
    assert case.rows("candles") == candles
    assert case.rows("features") == features
