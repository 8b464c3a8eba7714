"""`tickcast features` on a real broker and store."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from typer.testing import CliRunner

from app.cli import cli
from redpanda import admin
from redpanda.settings import BrokerSettings
from redpanda.topics import FEATURES, TOPICS
from tables.clickhouse import rows
from tests.support.served import fill, history, publish
from tests.support.store import StoreProcess, store, store_client, store_database, store_settings

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client
    from kafka import KafkaAdminClient

__all__ = ["store", "store_client", "store_database", "store_settings"]

pytestmark = pytest.mark.component
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    broker_settings: BrokerSettings,
    broker_admin: KafkaAdminClient,
    store: StoreProcess,
    store_database: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> Run:
    admin.apply(broker_admin, broker_settings, topics=[spec for spec in TOPICS if spec.name == FEATURES])
    for name, value in {
        "TICKCAST_HOME": tmp_path,
        "TICKCAST_SOURCE": "sim",
        "TICKCAST_BROKER_URL": broker_settings.broker_url,
        "TICKCAST_CLICKHOUSE_URL": f"local://{store.folder}",
        "TICKCAST_CLICKHOUSE_DATABASE": store_database,
    }.items():
        monkeypatch.setenv(name, str(value))

    def invoke(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["features", *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return invoke


def parity(run: Run, pair: str) -> tuple[int, dict[str, Any]]:
    code, out = run("parity", "--pair", pair, "--minutes", "30", "--settle-s", "0", "--json")
    return code, msgspec.json.decode(out)


def test_parity_of_equal_places_passes_and_one_changed_bit_fails(
    run: Run, store_client: Client, tmp_path: Path
) -> None:
    candles, said = history("PAR/USD", 200)
    fill(store_client, candles, said)
    publish(BrokerSettings(), [*said, said[100]])
    code, found = parity(run, "PAR/USD")
    assert (code, found["bars"], found["notes"]) == (0, 30, [])
    assert {(one["equal"], one["max_ulps"]) for one in found["store"]} == {(30, 0)}
    assert {one["equal"] + one["close"] for one in found["recomputed"]} == {30}
    assert {one["name"] for one in found["recomputed"] if one["equal"] == 30} > {"ema_60", "rsi_14", "adx_7", "atr_14"}
    page = tmp_path / "parity.html"
    code, out = run("parity", "--pair", "par/usd", "--minutes", "30", "--settle-s", "0", "--html", str(page))
    assert code == 0
    text = page.read_text()
    assert "The same everywhere" in text
    assert "<td>ema_60</td>" in text
    assert len(text) < 2_000_000
    assert out.endswith("the same everywhere\n")

    last = said[-1]
    bent = {**last.values, "sma_7": math.nextafter(last.values["sma_7"] or 0.0, math.inf)}
    rows.insert_features(store_client, [msgspec.structs.replace(last, values=bent)], "bent")
    code, found = parity(run, "PAR/USD")
    odd = [one for one in found["store"] if one["different"]]
    assert (code, [(one["name"], one["different"], one["max_ulps"]) for one in odd]) == (1, [("sma_7", 1, 1)])
    assert not any(one["different"] for one in found["recomputed"])


def test_parity_finds_a_row_that_the_sink_lost_and_a_candle_that_was_changed(run: Run, store_client: Client) -> None:
    candles, said = history("LOST/USD", 120)
    fill(store_client, candles, [row for row in said if row.open_ms != said[-3].open_ms])
    publish(BrokerSettings(), said)
    code, found = parity(run, "LOST/USD")
    assert (code, {one["missing"] for one in found["store"]}, {one["missing"] for one in found["recomputed"]}) == (
        1,
        {1},
        {0},
    )
    assert found["notes"] == []
    rows.insert_features(store_client, said, "again")
    assert parity(run, "LOST/USD")[0] == 0
    wrong = msgspec.structs.replace(candles[100], close=candles[100].close * 1.0001, as_of_ms=9_000)
    rows.insert_candles(store_client, [wrong], "wrong")
    code, found = parity(run, "LOST/USD")
    assert code == 1
    assert not any(one["different"] for one in found["store"])
    assert {one["name"] for one in found["recomputed"] if one["different"]} >= {"ema_7", "log_return_1"}


def test_parity_tells_that_the_sink_is_behind(run: Run, store_client: Client) -> None:
    candles, said = history("BEHIND/USD", 70)
    fill(store_client, candles, [row for row in said if row.open_ms <= said[-3].open_ms])
    publish(BrokerSettings(), said)
    code, found = parity(run, "BEHIND/USD")
    assert (code, {one["missing"] for one in found["store"]}) == (1, {2})
    assert found["notes"] == ["the store lacks the newest 2 bars: its sink is behind or stopped, see the worker's log"]


def test_latest_says_where_from_and_how_old(run: Run, store_client: Client) -> None:
    candles, said = history("OLD/USD", 70)
    fill(store_client, candles, said)
    code, out = run("latest", "old/usd", "--json")
    answer = msgspec.json.decode(out)
    assert (code, answer["place"], answer["fresh"]) == (0, "clickhouse", False)
    assert answer["missed"] == [{"place": "broker", "reason": "has no row"}]
    assert answer["features"]["values"] == said[-1].values
    publish(BrokerSettings(), said)
    code, out = run("latest", "OLD/USD", "--max-age-s", "1e12")
    assert code == 0
    assert "from broker, closed" in out
    assert "STALE" not in out
    assert f"\n  ema_7                {said[-1].values['ema_7']:.10g}\n" in out
