"""Five recorded days through the whole running stack: log, worker, store, registry, API, as `tickcast demo` runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import tulipy
from clickhouse_connect.driver import Client
from websockets.sync.client import connect as open_socket

from tables.clickhouse import history, queries
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.features.catalog import PERIODS
from tables.records import MINUTE_MS, TIMEFRAME_MS, Trade
from tables.status import Status, read_status
from tests.support.live_forecasts import compared
from tests.support.recorded import recorded_file, recorded_trades
from tests.support.reference import FIELDS, differences, reference_candles
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.component, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PAIRS = ("BTC/USD", "ETH/USD")
START, END = "2018-05-13T00:00:00Z", "2018-05-19T00:00:00Z"
HORIZONS_S = (60, 300, 900)
FOREVER_MS = 1 << 42
ALL = 100_000


class Stack:
    """`tickcast demo` in a process of its own, on the recording."""

    def __init__(self, home: Path, recording: Path) -> None:
        self.home = home
        self.log = home / "demo.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TICKCAST_")},
            "TICKCAST_CACHE": os.environ.get("TICKCAST_CACHE", ""),
            "TICKCAST_PAIRS": ",".join(PAIRS),
            "TICKCAST_REPLAY_FROM": START,
            "TICKCAST_REPLAY_TO": END,
        }
        if not environment["TICKCAST_CACHE"]:
            del environment["TICKCAST_CACHE"]
        command = [sys.executable, "-m", "app.cli", "demo", "--home", str(home), "--source", f"replay:{recording}"]
        shutil.rmtree(home / "status", ignore_errors=True)  # what an earlier stack told is not about this one
        self.started_s = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.children: list[psutil.Process] = []

    def status(self, name: str) -> Status | None:
        assert self.process.poll() is None, self.log.read_text()[-3_000:]
        self.children = psutil.Process(self.process.pid).children(recursive=True)
        return read_status(self.home, name)

    def is_drained(self) -> bool:
        ingest, worker = self.status("ingest"), self.status("worker")
        if ingest is None or worker is None or ingest.state != "done":
            return False
        counters = worker.counters
        return (
            counters["lag"] == 0
            and counters["trades"] + counters["late"] == ingest.counters["published"]
            and counters.get("stored_candles", 0) >= counters["candles"]
            and counters.get("stored_features", 0) >= counters["features"]
            and counters.get("stored_forecasts", 0) >= counters["forecasts"]
        )

    def environment(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.home / "stack.json").read_text())["env"]
        return found

    def get(self, path: str, **query: object) -> Any:
        port = self.environment()["TICKCAST_API_PORT"]
        url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=20) as answer:  # our own server
            return json.load(answer)

    def stop(self) -> list[psutil.Process]:
        """Press Ctrl-C; give what is still running afterwards."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return [child for child in self.children if child.is_running()]


@pytest.fixture(scope="module")
def trades() -> dict[str, list[Trade]]:
    found: dict[str, list[Trade]] = {pair: [] for pair in PAIRS}
    for one in recorded_trades(recorded_file(), PAIRS, START, END):
        found[one.pair].append(one)
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack"), recorded_file())
    try:
        wait_for(lambda: running.status("worker") is not None, 120, every_s=0.5)
        wait_for(running.is_drained, 300, every_s=0.5)
        # The last windows close by the clock, some seconds after the last trade.
        wait_for(lambda: _last_day_is_stored(running), 60, every_s=0.5)
        wait_for(running.is_drained, 60, every_s=0.5)
        yield running
    finally:
        if running.process.poll() is None:
            left = running.stop()
            assert left == [], "processes outlived the stack"


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[Client]:
    client = connect(StoreSettings(clickhouse_url=f"local://{stack.home}/store"))
    yield client
    client.close()


def _last_day_is_stored(stack: Stack) -> bool:
    client = connect(StoreSettings(clickhouse_url=f"local://{stack.home}/store"))
    try:
        return all(queries.candles(client, pair, "1d", 0, FOREVER_MS, 1) for pair in PAIRS)
    finally:
        client.close()


def test_every_candle_equals_the_recompute_from_the_file(
    stack: Stack, store: Client, trades: dict[str, list[Trade]]
) -> None:
    wrong: Counter[str] = Counter()
    for pair in PAIRS:
        stored = {
            (candle.timeframe, candle.open_ms): candle
            for timeframe in TIMEFRAME_MS
            for candle in queries.candles(store, pair, timeframe, 0, FOREVER_MS, ALL)
        }
        found = differences(trades[pair], stored)
        print(pair, {kind: some[:3] for kind, some in found.items() if some})
        wrong.update({kind: len(some) for kind, some in found.items()})
        assert all(candle.closed and candle.source == "replay" for candle in stored.values())
    _print_ledger(stack, store, trades, wrong)
    assert wrong == {"missing": 0, "extra": 0, "different": 0}


def test_features_equal_tulipy_over_the_whole_history(store: Client, trades: dict[str, list[Trade]]) -> None:
    for pair in PAIRS:
        for timeframe, step_ms in TIMEFRAME_MS.items():
            bars = _columns(reference_candles(trades[pair], timeframe))
            table = queries.feature_table(store, timeframe, [pair], 0, FOREVER_MS)
            assert (table["open_ms"] == bars["open_ms"]).all()
            stored = {name: table[name] for name in FEATURE_NAMES}
            for name, expected in _tulipy(bars).items():
                _assert_close(stored[name], expected, f"{pair} {timeframe} {name}")
            for name, expected in zip(FEATURE_NAMES, feature_matrix(bars, step_ms).T, strict=True):
                _assert_close(stored[name], expected, f"{pair} {timeframe} {name}")


def test_every_closed_minute_has_its_forecasts(store: Client, trades: dict[str, list[Trade]]) -> None:
    for pair in PAIRS:
        minutes = reference_candles(trades[pair], "1m")
        table = queries.feature_table(store, "1m", [pair], 0, FOREVER_MS)
        known = table["ewma_vol_60"] > 1e-9
        assert known[5:].all(), "only the first bars have no volatility"
        expected = {int(open_ms) for open_ms in table["open_ms"][known]}
        for horizon_s in HORIZONS_S:
            rows = history.forecasts(store, pair, horizon_s, 0, FOREVER_MS, ALL)
            made = {row.feature_open_ms: row for row in rows}
            assert made.keys() == expected
            for open_ms, row in made.items():
                assert row.base_price == minutes[open_ms][FIELDS.index("close")]
                assert row.q05 <= row.q25 <= row.q50 <= row.q75 <= row.q95
                assert row.target_ms == open_ms + MINUTE_MS + horizon_s * 1_000
                assert (row.model_alias, row.trusted) == ("champion", False)
                assert "stale" in row.reasons


def test_a_backtest_of_the_stored_candles_gives_the_live_forecasts(store: Client) -> None:
    count = compared(store, PAIRS, HORIZONS_S)
    scored = store.query("SELECT count() FROM forecast_errors FINAL WHERE NOT synthetic").result_rows[0][0]
    print(f"{count} forecasts are equal, {scored} of them scored")
    assert scored  # at full speed candles run ahead of forecasts, and most outcomes have left before (ADR 0019)


def test_the_api_answers_with_them(stack: Stack, trades: dict[str, list[Trade]]) -> None:
    wait_for(lambda: stack.get("/health/ready"), 30)
    latest = stack.get("/v1/forecasts/latest")
    assert not latest["simulated"]
    newest = {pair: part[-1].ts_ns // 1_000_000 // MINUTE_MS * MINUTE_MS for pair, part in trades.items()}
    found = {(row["pair"], row["horizon_s"]): row["feature_open_ms"] for row in latest["forecasts"]}
    assert found == {(pair, horizon_s): newest[pair] for pair in PAIRS for horizon_s in HORIZONS_S}
    for pair in PAIRS:
        history = stack.get("/v1/forecasts", pair=pair, horizon_s=300, limit=500)["forecasts"]
        assert len(history) == 500
        candles = stack.get("/v1/candles", pair=pair, timeframe="1h", limit=10)["candles"]
        expected = reference_candles(trades[pair], "1h")
        assert [tuple(row[name] for name in FIELDS) for row in candles] == [
            expected[open_ms] for open_ms in sorted(expected, reverse=True)[:10]
        ]
    assert {row["pair"] for row in stack.get("/v1/pairs")["pairs"]} == set(PAIRS)
    assert "/v1/feed" in json.dumps(stack.get("/v1"))
    assert stack.get("/schema/openapi.json")["openapi"].startswith("3.1")


def test_the_feed_sends_a_snapshot(stack: Stack) -> None:
    port = stack.environment()["TICKCAST_API_PORT"]
    with open_socket(f"ws://127.0.0.1:{port}/v1/feed") as socket:
        assert json.loads(socket.recv(10))["type"] == "hello"
        request = {"method": "subscribe", "params": {"channel": "forecasts", "pairs": list(PAIRS)}, "req_id": 7}
        socket.send(json.dumps(request))
        messages = [json.loads(socket.recv(10)) for _ in range(3)]
    assert messages[0]["req_id"] == 7
    assert messages[0]["success"]
    snapshots = {message["pair"]: message["data"] for message in messages if message.get("type") == "snapshot"}
    assert {pair: {row["horizon_s"] for row in rows} for pair, rows in snapshots.items()} == {
        pair: set(HORIZONS_S) for pair in PAIRS
    }


def test_a_second_start_goes_on_where_the_first_stopped(stack: Stack, store: Client) -> None:
    before = {pair: len(queries.candles(store, pair, "1m", 0, FOREVER_MS, ALL)) for pair in PAIRS}
    first = stack.status("ingest")
    assert first is not None
    assert stack.stop() == []
    again = Stack(stack.home, recorded_file())
    try:
        wait_for(lambda: (status := again.status("ingest")) is not None and status.state == "done", 180, every_s=0.5)
        wait_for(lambda: (status := again.status("worker")) is not None and status.counters["lag"] == 0, 60)
        ingest, worker = again.status("ingest"), again.status("worker")
        assert ingest is not None
        assert worker is not None
        assert ingest.counters["published"] == 0
        assert worker.counters["trades"] == 0
        client = connect(StoreSettings(clickhouse_url=f"local://{stack.home}/store"))
        assert {pair: len(queries.candles(client, pair, "1m", 0, FOREVER_MS, ALL)) for pair in PAIRS} == before
        client.close()
    finally:
        assert again.stop() == []


def _columns(candles: dict[int, tuple[object, ...]]) -> dict[str, npt.NDArray[Any]]:
    opens = sorted(candles)
    columns = {name: np.array([candles[at][place] for at in opens]) for place, name in enumerate(FIELDS)}
    return {"open_ms": np.array(opens), **columns}


def _tulipy(bars: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """Straight from the library, aligned to the right as it gives them."""
    high, low, close = (np.ascontiguousarray(bars[name], dtype=np.float64) for name in ("high", "low", "close"))
    volume = np.ascontiguousarray(bars["volume"], dtype=np.float64)
    found: dict[str, npt.NDArray[np.float64]] = {}
    rows = len(close)
    for period in PERIODS:
        if rows <= 3 * period:
            continue
        found[f"sma_{period}"] = tulipy.sma(close, period)
        found[f"ema_{period}"] = tulipy.ema(close, period)
        found[f"rsi_{period}"] = tulipy.rsi(close, period)
        found[f"adx_{period}"] = tulipy.adx(high, low, close, period)
        macd = tulipy.macd(close, period, 2 * period, period)
        found[f"macd_{period}"], found[f"macd_signal_{period}"], found[f"macd_hist_{period}"] = macd
    if rows > 60:
        found["atr_14"] = tulipy.atr(high, low, close, 14)
        bands = tulipy.bbands(close, 20, 2)
        found["bb_lower_20"], found["bb_middle_20"], found["bb_upper_20"] = bands
        obv = tulipy.obv(close, volume)
        for span in (14, 60):
            total = np.lib.stride_tricks.sliding_window_view(volume, span).sum(axis=1)[1:]
            found[f"obv_change_{span}"] = np.where(total == 0, 0.0, (obv[span:] - obv[:-span]) / total)
    return found


def _assert_close(stored: npt.NDArray[Any], expected: npt.NDArray[np.float64], what: str) -> None:
    """Compare to 1e-9 relative; values that are differences of larger ones, to 1e-9 of their largest."""
    ours = stored[len(stored) - len(expected) :]
    assert (np.isnan(ours) == np.isnan(expected)).all(), what
    size = float(np.nanmax(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 * size * 1e-3, err_msg=what)


def _print_ledger(stack: Stack, store: Client, trades: dict[str, list[Trade]], wrong: Counter[str]) -> None:
    ingest, worker = stack.status("ingest"), stack.status("worker")
    assert ingest is not None
    assert worker is not None
    rows = {
        table: store.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0]  # noqa: S608  # three constants
        for table in ("candles", "features", "forecasts")
    }
    ledger = {
        "in_file": sum(map(len, trades.values())),
        "read": ingest.counters["read"],
        "published": ingest.counters["published"],
        "applied": worker.counters["trades"],
        "duplicate": worker.counters["duplicates"],
        "late": worker.counters["late"],
        "dead": worker.counters["dead_letters"],
        **rows,
        **wrong,
        "seconds_since_start": round(time.monotonic() - stack.started_s, 1),
    }
    print("\nledger: " + " ".join(f"{name}={value}" for name, value in ledger.items()))
    assert ledger["in_file"] == ledger["read"] == ledger["published"] == ledger["applied"]
    assert ledger["late"] == ledger["dead"] == 0
