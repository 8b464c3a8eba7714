"""Live is progress, and a worker that cannot go on ends: never a stream that stands still behind a green light."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from urllib.error import HTTPError

import msgspec
import pytest
from kafka import KafkaProducer

from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import NEWS, TRADES
from tables.records import Trade
from tests.support.pages import ask, page
from tests.support.waiting import wait_for
from tests.support.worker import ROOT, Worker, own_broker

pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["own_broker"]

STALL_S = "3"
START_MS = 1_526_187_600_000


def trades(broker: BrokerSettings, first_id: int, number_of: int, pair: str = "BTC/USD") -> None:
    producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all", linger_ms=20)
    for number in range(first_id, first_id + number_of):
        ts_ns = (START_MS + number * 10_000) * 1_000_000
        trade = Trade(pair, number, ts_ns, 100.0, 1.0, "buy", "market", "replay")
        producer.send(TRADES, key=pair.encode(), value=msgspec.json.encode([trade]))
    producer.flush()
    producer.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def stalled(tmp_path: Path, own_broker: BrokerSettings, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TICKCAST_BROKER_URL": own_broker.broker_url,
        "TICKCAST_WORKER_PORT": str(port),
        "TICKCAST_STALL_S": STALL_S,
    }
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("stalling_worker.py")), str(tmp_path)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    yield process
    process.kill()
    process.wait(10)


def test_stage_that_stands_still_under_lag_fails_live_and_says_where(
    own_broker: BrokerSettings, stalled: subprocess.Popen[bytes], port: int
) -> None:
    wait_for(lambda: ask(port, "/health/ready")[0] == 200, 60)
    assert ask(port, "/health/live")[0] == 200
    producer = KafkaProducer(bootstrap_servers=own_broker.broker_url, acks="all")
    for _ in range(5):
        producer.send(NEWS, partition=2, key=b"BTC/USD", value=b"{}")
    producer.flush()
    producer.close()
    wait_for(lambda: ask(port, "/health/live")[0] == 503, 30)
    body = ask(port, "/health/live")[1]
    assert body["live"] is False
    assert any(reason.startswith("news-2: committed stands at 0 of") for reason in body["reasons"]), body
    assert stalled.poll() is None


def test_ready_only_after_recovery_and_live_from_the_start(
    tmp_path: Path, own_broker: BrokerSettings, port: int
) -> None:
    second = free_port()
    worker = Worker(
        tmp_path,
        own_broker.broker_url,
        TICKCAST_STALL_S=STALL_S,
        TICKCAST_WORKER_PORT=str(port),
        TICKCAST_METRICS_ADDRESS=f"127.0.0.1:{second}",
    )
    trades(own_broker, 1, 200)
    seen: list[tuple[int, int, str]] = []

    def is_ready() -> bool:
        live, (ready, body) = ask(port, "/health/live")[0], ask(port, "/health/ready")
        if live:
            seen.append((live, ready, body.get("phase", "")))
        return ready == 200

    try:
        worker.start()
        wait_for(is_ready, 60)
        wait_for(worker.is_drained, 60)
        told = page(port, "/metrics")
        assert 'tickcast_worker_records_total{what="trades"} 200.0' in told
        assert 'tickcast_worker_phase{phase="live"} 1.0' in told
        assert 'tickcast_worker_records_total{what="trades"} 200.0' in page(second, "/metrics")
        with pytest.raises(HTTPError, match="404"):
            page(second, "/health/live")
        lags = re.findall(r'^tickcast_worker_lag_records\{.*topic="trades"\} (\S+)$', told, re.MULTILINE)
        assert {float(lag) for lag in lags} == {0.0}
        # At rest for longer than the limit: nothing to do is no stall.
        rested_s = time.monotonic()
        wait_for(lambda: time.monotonic() - rested_s > float(STALL_S) + 2, 20)
        assert ask(port, "/health/live")[0] == 200
        worker.signal(signal.SIGSTOP)
        wait_for(lambda: ask(port, "/health/live", 1.0)[0] == 0, 20)
        worker.signal(signal.SIGCONT)
        wait_for(lambda: ask(port, "/health/live")[0] == 200, 20)
    finally:
        worker.signal(signal.SIGCONT)
        worker.close()
    assert {live for live, _, _ in seen} == {200}
    assert seen[0][1:] == (503, "starting")
    assert seen[-1][1:] == (200, "live")
    assert {phase for _, ready, phase in seen if ready == 503} <= {"starting", "recovery"}


def test_full_disk_ends_the_worker_with_one_line(tmp_path: Path, own_broker: BrokerSettings) -> None:
    """A limit on file sizes stands for the disk: RocksDB's log is the first file that meets it."""
    limited = "import resource,runpy,signal,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
    limited += "sys.argv = ['tickcast', 'worker']; runpy.run_module('app.cli', run_name='__main__')"
    environment = {
        **os.environ,
        "TICKCAST_HOME": str(tmp_path),
        "TICKCAST_BROKER_URL": own_broker.broker_url,
        "TICKCAST_STAGES": "candles,features",
        "TICKCAST_WORKER_PORT": str(free_port()),
    }
    with subprocess.Popen(
        [sys.executable, "-c", limited],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said = ThreadPoolExecutor(1).submit(lambda: process.stderr.read() if process.stderr else "")
        next_ids = count(1, 50)
        # Every chunk writes its pair's row: the log of RocksDB grows with each.

        def feed_until_ended() -> bool:
            trades(own_broker, next(next_ids), 50)
            return process.poll() is not None

        wait_for(feed_until_ended, 90, every_s=0.05)
        last = said.result(10).strip().splitlines()[-1]
    assert process.returncode not in (0, None)
    assert last.startswith("worker ended: "), last
    assert "IO error" in last
    assert "The disk is full: free some, or set TICKCAST_HOME" in last
