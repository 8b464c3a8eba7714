from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websockets.sync.client as ws

from api.server import run
from api.settings import ApiSettings
from redpanda.errors import ConfigError
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from tables.clickhouse.settings import StoreSettings
from tables.status import Status, read_status
from tests.api.stack import hear, hear_close
from tests.support.waiting import wait_for

MAIN = """
from api.server import run
from api.settings import ApiSettings
from redpanda.settings import BrokerSettings
from tables.clickhouse.settings import StoreSettings
run(ApiSettings(), BrokerSettings(), StoreSettings())
"""


def test_busy_port_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ApiSettings(home=tmp_path, api_port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="TICKCAST_API_PORT") as refused:
            run(settings, BrokerSettings(), StoreSettings())
    assert "\n" not in str(refused.value)


def test_settings_read_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKCAST_PAIRS", "xrp/usd, LTC/USD")
    monkeypatch.setenv("TICKCAST_SOURCE", "replay:/data/file.csv")
    monkeypatch.setenv("TICKCAST_API_PORT", "18999")
    settings = ApiSettings()
    assert settings.pairs == ("XRP/USD", "LTC/USD")
    assert settings.label == "replay"
    assert settings.api_port == 18999


@pytest.mark.component
def test_sigterm_ends_it_cleanly_and_quickly_with_a_client_connected(
    home: Path, api_broker: LocalBroker, store_settings: StoreSettings
) -> None:
    with api_process(home, api_broker.url, store_settings.clickhouse_url) as (process, port):
        status = wait_for(lambda: _live(home))
        assert status.pid == process.pid
        assert status.detail["url"] == f"http://127.0.0.1:{port}"
        with ws.connect(f"ws://127.0.0.1:{port}/v1/feed", proxy=None) as client:
            hear(client)
            wait_for(lambda: (found := _live(home)) is not None and found.counters["ws_clients"] == 1)
            process.send_signal(signal.SIGTERM)
            asked_s = time.monotonic()
            assert hear_close(client)[0] == 1012
            assert process.wait(timeout=10) == 0
            assert time.monotonic() - asked_s < 5
    last = read_status(home, "api")
    assert last is not None
    assert last.state == "stopping"


@pytest.mark.component
def test_store_that_hangs_does_not_hold_up_the_end(home: Path, api_broker: LocalBroker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with api_process(home, api_broker.url, store_url) as (process, port):
            wait_for(lambda: _live(home))
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET /v1/candles?pair=BTC/USD HTTP/1.1\r\nHost: localhost\r\n\r\n")
                wait_for(lambda: (found := _live(home)) is not None and found.counters["requests"] == 1)
                process.send_signal(signal.SIGTERM)
                asked_s = time.monotonic()
                assert client.recv(4_096).startswith(b"HTTP/1.1 503 ")
                assert process.wait(timeout=20) == 0
                assert time.monotonic() - asked_s < 5
        assert "Traceback" not in (home / "api.log").read_text()


@contextmanager
def api_process(home: Path, broker_url: str, store_url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the API in a process of its own, as the command line does."""
    port = free_port()
    environment = os.environ | {
        "TICKCAST_HOME": str(home),
        "TICKCAST_API_PORT": str(port),
        "TICKCAST_BROKER_URL": broker_url,
        "TICKCAST_CLICKHOUSE_URL": store_url,
        "TICKCAST_SOURCE": "sim",
    }
    with (home / "api.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", MAIN], env=environment, stderr=log)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


def _live(home: Path) -> Status | None:
    status = read_status(home, "api")
    return status if status is not None and status.state == "live" else None
