"""The ingest service as processes: simulated exchange, client, broker; killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from kafka import KafkaProducer

from agents.trades.publish import Publisher, open_producer
from agents.trades.refusals import Refusal
from agents.trades.resume import check_source, last_trades
from agents.trades.service import IngestService
from agents.trades.settings import ingest_settings
from agents.trades.source import Batch
from redpanda import admin
from redpanda.errors import ConfigError, UnreachableError
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.tail import last_records
from redpanda.topics import DEAD_LETTERS, TRADES
from tables.records import DeadLetter
from tables.status import read_status
from tests.support.ingest import DEADLINE_S, IngestStack, published, wait_for
from tests.support.publishing import one

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

pytestmark = pytest.mark.component


@pytest.fixture(scope="module", autouse=True)
def topics(broker_admin: KafkaAdminClient, broker_settings: BrokerSettings) -> None:
    admin.apply(broker_admin, broker_settings)


def letters(broker: BrokerSettings, pair: str) -> list[DeadLetter]:
    rows = [row for part in last_records(broker, DEAD_LETTERS, 1_000_000).values() for row in part]
    records = [msgspec.json.decode(row.value or b"", type=DeadLetter) for row in rows]
    return [record for record in records if record.pair == pair]


def test_every_id_is_published_once_although_all_is_killed(tmp_path: Path, broker_settings: BrokerSettings) -> None:
    pair = "KILL/USD"
    stack = IngestStack(tmp_path, broker_settings, TICKCAST_PAIRS=pair, TICKCAST_SIM_FAULTS='{"drop_every":90}')
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        with stack.runs("sim") as market, stack.runs("ingest") as service:
            wait_for(lambda: stack.count("published", service) > 300 and stack.get("/ready") == 200)
            assert stack.get("/health") == 200
            for process in (service, market):
                os.kill(process.pid, how)
                code = process.wait(5)
                assert how == signal.SIGKILL or code == 0, process.communicate()
    ids = [trade.trade_id for trade in published(broker_settings, pair)]
    assert len(ids) > 900
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert not letters(broker_settings, pair)


def test_a_recording_is_published_whole_once_and_bad_rows_are_dead_letters(
    tmp_path: Path, broker_settings: BrokerSettings
) -> None:
    pair = "FILE/USD"
    rows = [f"{pair},{n + 1},1,buy,,,2018-05-08T04:11:{n % 60:02d}Z" for n in range(2_500)]
    rows.insert(7, f"{pair},nan,1,buy,,,2018-05-08T04:11:41Z")
    file = tmp_path / "trades.csv"
    file.write_text("symbol,price,qty,side,ord_type,trade_id,timestamp\n" + "\n".join(rows) + "\n")
    stack = IngestStack(tmp_path, broker_settings, TICKCAST_PAIRS=pair, TICKCAST_SOURCE=f"replay:{file}")
    for skipped in (0, 2_500):
        with stack.runs("ingest") as service:
            assert service.wait(DEADLINE_S) == 0
        status = read_status(tmp_path, "ingest")
        assert status is not None
        assert status.state == "done"
        assert status.progress is not None
        assert status.progress.done == status.progress.total == file.stat().st_size
        counters = status.counters
        assert (counters["published"], counters["skipped"]) == (2_500 - skipped, skipped)
        assert counters["dead_letters"] == 1
    trades = published(broker_settings, pair)
    assert [trade.trade_id for trade in trades] == list(range(1, 2_501))
    assert [trade.price for trade in trades] == [float(n + 1) for n in range(2_500)]
    assert {trade.source for trade in trades} == {"replay"}
    assert [letter.reason for letter in letters(broker_settings, pair)] == ["price-not-finite"] * 2
    assert "line 9" in letters(broker_settings, pair)[0].detail


def test_two_sources_do_not_mix_in_one_topic(tmp_path: Path, broker_settings: BrokerSettings) -> None:
    pair = "MIX/USD"
    file = tmp_path / "trades.csv"
    file.write_text(f"symbol,price,qty,timestamp\n{pair},1,1,2018-05-08T04:11:41Z\n")
    stack = IngestStack(tmp_path, broker_settings, TICKCAST_PAIRS=pair, TICKCAST_SOURCE=f"replay:{file}")
    with stack.runs("ingest") as service:
        assert service.wait(DEADLINE_S) == 0
    resume = last_trades(broker_settings, (pair, "NONE/USD"), 1_000)
    assert list(resume) == [pair]
    with pytest.raises(ConfigError, match="TICKCAST_SOURCE says sim"):
        check_source(resume, "sim")
    assert pair in last_trades(broker_settings, (), 1_000)


def test_the_last_trade_is_found_behind_many_records_of_another_pair(broker_settings: BrokerSettings) -> None:
    async def fill() -> None:
        publisher = Publisher(open_producer(broker_settings), 0, 100_000)
        await publisher.publish(Batch("OLD/USD", [one("OLD/USD", 41), one("OLD/USD", 42)]))
        await publisher.drain()
        for number in range(1, 400):
            for pair in ("AA/USD", "AB/USD", "AC/USD", "AD/USD", "AE/USD", "AF/USD"):
                await publisher.publish(Batch(pair, [one(pair, number)]))
            await publisher.drain()
        await publisher.close(5.0)

    asyncio.run(fill())
    resume = last_trades(broker_settings, ("OLD/USD", "AA/USD"), 200_000)
    assert {pair: last.trade.trade_id for pair, last in resume.items()} == {"OLD/USD": 42, "AA/USD": 399}


def test_a_refusal_after_a_quiet_time_is_no_stall(broker_settings: BrokerSettings) -> None:
    async def refuse() -> float:
        publisher = Publisher(open_producer(broker_settings), 0, 100_000)
        publisher._acked_s -= 60.0  # the quiet time, without waiting for it
        await publisher.publish(Batch("", refusals=[Refusal("unknown-pair", "", "", "STALL/USD")]))
        stalled_s = publisher.stalled_s
        await publisher.close(5.0)
        return stalled_s

    assert asyncio.run(refuse()) < 30.0


def test_a_status_file_that_cannot_be_written_does_not_stop_the_service(
    tmp_path: Path, broker_settings: BrokerSettings
) -> None:
    file = tmp_path / "trades.csv"
    file.write_text("symbol,price,qty,timestamp\nDISK/USD,1,1,2018-05-08T04:11:41Z\n")
    home = tmp_path / "home"
    home.write_text("a file where the folder should be")
    settings = ingest_settings(home=home, source=f"replay:{file}", pairs="DISK/USD", ingest_port=0)
    asyncio.run(IngestService(settings, broker_settings).serve(asyncio.Event()))
    assert len(published(broker_settings, "DISK/USD")) == 1


def test_what_is_no_envelope_at_the_end_of_the_topic_does_not_keep_the_service_from_going_on(
    broker_settings: BrokerSettings,
) -> None:
    key = b"TORN/USD"
    good = msgspec.json.encode([one("TORN/USD", 6), one("TORN/USD", 7)])
    bad = (b"{", b"[]", b'[{"pair":"TORN/USD"}]', b"\xff", None, msgspec.json.encode([one("ELSE/USD", 9)]))
    with KafkaProducer(bootstrap_servers=broker_settings.broker_url, acks="all") as producer:
        for value in (good, *bad):
            producer.send(TRADES, key=key, value=value)
        producer.flush()
    assert last_trades(broker_settings, ("TORN/USD",), 1_000)["TORN/USD"].trade.trade_id == 7


def test_a_full_buffer_makes_the_source_wait_and_loses_nothing(broker_settings: BrokerSettings) -> None:
    async def fill() -> int:
        publisher = Publisher(open_producer(broker_settings), 5, 1_000)
        most = 0
        for start in range(1, 20_001, 100):
            await publisher.publish(Batch("FULL/USD", [one("FULL/USD", n) for n in range(start, start + 100)]))
            most = max(most, publisher.in_flight)
        await publisher.drain()
        assert publisher.published == 20_000
        await publisher.close(5.0)
        return most

    assert asyncio.run(fill()) < 1_000
    assert [trade.trade_id for trade in published(broker_settings, "FULL/USD")] == list(range(1, 20_001))


def test_a_broker_that_is_not_there_is_one_error_that_names_the_setting(tmp_path: Path) -> None:
    settings = ingest_settings(home=tmp_path, source="sim", ingest_port=0)
    nobody = BrokerSettings(broker_url=f"127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="TICKCAST_BROKER_URL"):
        asyncio.run(IngestService(settings, nobody).serve(asyncio.Event()))
    status = read_status(tmp_path, "ingest")
    assert status is not None
    assert status.state == "failed"


def test_a_busy_port_is_one_error_that_names_the_setting(tmp_path: Path, broker_settings: BrokerSettings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ingest_settings(home=tmp_path, source="sim", ingest_port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="TICKCAST_INGEST_PORT"):
            asyncio.run(IngestService(settings, broker_settings).serve(asyncio.Event()))


def test_a_refusal_of_hostile_text_is_still_a_record(broker_settings: BrokerSettings) -> None:
    async def send() -> None:
        publisher = Publisher(open_producer(broker_settings), 0, 100_000)
        refusal = Refusal("unknown-pair", "\ud800" * 900, "\udfff" * 9_000, "HOSTILE/USD")
        await publisher.publish(Batch("", refusals=[refusal]))
        await publisher.close(5.0)
        assert publisher.dead_letters == {"unknown-pair": 1}

    asyncio.run(send())
    (letter,) = letters(broker_settings, "HOSTILE/USD")
    assert (len(letter.detail), len(letter.payload), letter.stage) == (500, 2_000, "ingest")
