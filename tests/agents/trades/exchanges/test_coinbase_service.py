"""Coinbase through the whole service: into the broker, and on from there after a restart."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient

from agents.trades.resume import last_trades
from agents.trades.service import IngestService
from agents.trades.settings import Faults
from redpanda import admin
from redpanda.errors import ConfigError
from redpanda.settings import BrokerSettings
from redpanda.tail import last_records
from redpanda.topics import TRADES
from tables.records import Trade
from tests.support.coinbase import CoinbaseServer
from tests.support.exchange import busy_market, client
from tests.support.waiting import until

pytestmark = [pytest.mark.component, pytest.mark.proof]

PAIR = "CBX/USD"
DEADLINE_S = 60.0


def published(broker: BrokerSettings) -> list[Trade]:
    rows = [
        row for part in last_records(broker, TRADES, 1_000_000).values() for row in part if row.key == PAIR.encode()
    ]
    return [trade for row in rows for trade in msgspec.json.decode(row.value or b"", type=list[Trade])]


async def ingest(home: Path, broker: BrokerSettings, count: int, **values: object) -> None:
    """Run the service until it has published `count` trades."""
    server = CoinbaseServer(busy_market(PAIR, Faults(drop_every=70)))
    await server.start()
    stop = asyncio.Event()
    ended = threading.Event()
    try:
        service = IngestService(client(server, home=home, ingest_port=0, repair_wait_s=DEADLINE_S, **values), broker)

        serving = asyncio.create_task(service.serve(stop))
        serving.add_done_callback(lambda _: ended.set())
        enough = lambda: ended.is_set() or service.status().counters.get("published", 0) >= count  # noqa: E731  # short
        await until(enough, DEADLINE_S)
        stop.set()
        await serving
    finally:
        await server.stop()


def test_trades_of_coinbase_reach_the_topic_once_each_and_a_restart_goes_on_behind_them(
    tmp_path: Path, broker_admin: KafkaAdminClient, broker_settings: BrokerSettings
) -> None:
    admin.apply(broker_admin, broker_settings)
    for _ in range(2):
        asyncio.run(ingest(tmp_path, broker_settings, 700))
    trades = published(broker_settings)
    ids = [trade.trade_id for trade in trades]
    assert len(ids) >= 1_400
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert {trade.source for trade in trades} == {"coinbase"}
    assert list(last_trades(broker_settings, (PAIR,), 1_000)) == [PAIR]
    with pytest.raises(ConfigError, match="TICKCAST_SOURCE says sim"):
        asyncio.run(ingest(tmp_path, broker_settings, 1, source="sim"))
