"""The store as a process: signals, crashes, and starts that cannot work."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from redpanda.errors import MissingToolError, UnreachableError
from tables.clickhouse import migrate, queries, rows
from tables.clickhouse.attempts import Attempts
from tables.clickhouse.client import connect
from tables.clickhouse.endpoint import resolve
from tables.clickhouse.local.engine import Engine
from tables.clickhouse.settings import StoreSettings
from tables.status import read_status
from tests.support.samples import START_MS, candle
from tests.support.store import StoreProcess
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

BATCH = 50


def refusal(process: StoreProcess) -> str:
    """Run a store that cannot start and return what it said."""
    code = process.spawn().wait(20)
    text = process.log.read_text()
    assert code == 2, text
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


def test_sigterm_ends_it_cleanly_and_a_new_start_keeps_rows_and_token(tmp_path: Path) -> None:
    process = StoreProcess(tmp_path)
    process.start()
    client = connect(process.settings())
    migrate.apply(client)
    rows.insert_candles(client, [candle(0)], "a")
    client.close()
    token = (process.folder / "token").read_text()
    assert stat.S_IMODE((process.folder / "token").stat().st_mode) == 0o600
    wait_for(lambda: status_rows(process).get("candles") == 1, 5)
    started = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - started < 5
    assert not (process.folder / "endpoint.json").exists()
    status = read_status(process.home, "store")
    assert status is not None
    assert status.state == "stopping"
    process.start()
    client = connect(process.settings())
    assert queries.candles(client, "BTC/USD", "1m", 0, 2**62, 5) == [candle(0)]
    assert (process.folder / "token").read_text() == token
    client.close()
    assert process.stop() == 0


def status_rows(process: StoreProcess) -> dict[str, int]:
    status = read_status(process.home, "store")
    found = status.detail.get("rows") if status else None
    return found if isinstance(found, dict) else {}


def test_sigterm_does_not_wait_for_a_long_query(tmp_path: Path) -> None:
    process = StoreProcess(tmp_path)
    process.start()
    client = connect(process.settings("default"))

    def long_query() -> None:
        with pytest.raises(Exception, match=r"(?s).*"):  # however it ends, it must not hold the process
            client.query(
                "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))",
                use_none=False,
            )

    thread = threading.Thread(target=long_query)
    thread.start()
    watcher = connect(process.settings("default"))
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number)%'"
    wait_for(lambda: watcher.query(running).result_rows[0][0] > 1)  # the watcher's own is one of them
    started = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - started < 5
    thread.join(10)
    watcher.close()
    client.close()


def write_until(settings: StoreSettings, acknowledged: list[int], tokens: set[str], enough: threading.Event) -> None:
    """Insert batch after batch; one that failed is sent again until it is proven, as the sink does."""
    client: Client = connect(settings)
    number, attempts = 0, Attempts("candles-0-0")
    while not enough.is_set():
        batch = [candle(number * BATCH + index) for index in range(BATCH)]
        tokens.add(attempts.token)
        try:
            rows.insert_candles(client, batch, attempts.token)
        except UnreachableError:  # the retriable kind; any other ends the writer and with it the test
            attempts.failed()
            client.close()
            client = connect(settings)
            continue
        if attempts.proven():
            acknowledged.append(number)
            number += 1
            attempts = Attempts(f"candles-0-{number}")
    client.close()


def has(acknowledged: list[int], wanted: int) -> bool:
    return len(acknowledged) >= wanted


def test_kill_9_during_inserts_loses_and_doubles_nothing(tmp_path: Path) -> None:
    process = StoreProcess(tmp_path)
    process.start()
    settings = process.settings()
    client = connect(settings)
    migrate.apply(client)
    client.close()
    acknowledged: list[int] = []
    tokens: set[str] = set()
    enough = threading.Event()
    writer = threading.Thread(target=write_until, args=(settings, acknowledged, tokens, enough))
    writer.start()
    for kills in range(3):
        wanted = len(acknowledged) + 10 + 7 * kills
        wait_for(partial(has, acknowledged, wanted))
        process.kill()
        process.start()
    wait_for(partial(has, acknowledged, len(acknowledged) + 1))
    enough.set()
    writer.join(30)
    client = connect(settings)
    raw, unique = client.query("SELECT count(), uniqExact(open_time) FROM candles").result_rows[0]
    stored = [row.open_ms for row in queries.candles(client, "BTC/USD", "1m", 0, 2**62, 100_000)]
    client.close()
    assert process.stop() == 0
    assert acknowledged == list(range(len(acknowledged)))
    assert unique == len(acknowledged) * BATCH
    assert unique <= raw <= len(tokens) * BATCH, "a token is there once at most"
    assert stored == [START_MS + index * 60_000 for index in reversed(range(unique))]


def test_a_second_process_on_the_folder_names_the_first(store: StoreProcess, tmp_path: Path) -> None:
    second = StoreProcess(tmp_path, TICKCAST_CLICKHOUSE_URL=f"local://{store.folder}")
    line = refusal(second)
    assert "in use by another store" in line
    assert "TICKCAST_CLICKHOUSE_URL" in line
    assert store.process is not None
    assert f"process {store.process.pid}" in line


def test_a_busy_port_names_the_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        line = refusal(StoreProcess(tmp_path, port=other.getsockname()[1]))
    assert "TICKCAST_STORE_PORT" in line


def test_a_full_disk_is_said_at_the_start(tmp_path: Path) -> None:
    line = refusal(StoreProcess(tmp_path, TICKCAST_STORE_MIN_FREE_MB="999999999"))
    assert "is full" in line
    assert "TICKCAST_CLICKHOUSE_URL" in line


def test_a_folder_that_is_a_plain_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    assert "TICKCAST_CLICKHOUSE_URL" in refusal(StoreProcess(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [("TICKCAST_STORE_PORT", "http"), ("TICKCAST_CLICKHOUSE_URL", "clickhouse://host:8123/x")],
)
def test_a_bad_setting_is_one_line_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    assert name in refusal(StoreProcess(tmp_path, port=0, **{name: value}))


def test_a_missing_engine_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb.state.sqlitelike", None)
    with pytest.raises(MissingToolError, match="uv sync --extra local"):
        Engine(tmp_path, StoreSettings(clickhouse_url=f"local://{tmp_path}"))


def test_only_the_loopback_is_served(store: StoreProcess) -> None:
    listing = subprocess.run(["cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in listing.splitlines()[1:]]
    listening = {line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{store.port:04X}")}
    assert listening == {f"0100007F:{store.port:04X}"}


def test_a_query_whose_client_went_away_is_stopped(store: StoreProcess) -> None:
    watcher = connect(store.settings("default"))
    sql = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number, 77))"
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number, 77)%'"
    endpoint = resolve(store.settings())
    head = f"POST / HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: {endpoint.password}\r\nContent-Length: {len(sql)}\r\n\r\n"
    with socket.create_connection((endpoint.host, endpoint.port)) as client:
        client.sendall((head + sql).encode())
        wait_for(lambda: watcher.query(running).result_rows[0][0] > 1, 60)  # the watcher's own is one of them
    wait_for(lambda: watcher.query(running).result_rows[0][0] == 1, 40)  # well before the limit of 60 s
    watcher.close()
