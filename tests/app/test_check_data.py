"""`tickcast check data` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from redpanda.errors import BadInputError
from tables.clickhouse import rows
from tables.features.fold import PairFeatures
from tests.app.test_cli import one_line_error, tickcast
from tests.support.candle_files import recorded, write_recording
from tests.support.market import market
from tests.support.store import store, store_client, store_database, store_settings

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from tables.clickhouse.settings import StoreSettings

__all__ = ["store", "store_client", "store_database", "store_settings"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack of this folder may answer."""
    monkeypatch.chdir(tmp_path)


def check(*words: str) -> Result:
    return CliRunner().invoke(cli, ["check", *words])


def test_sound_recording_keeps_the_contract(tmp_path: Path) -> None:
    file = write_recording(tmp_path / "BTC-USD.parquet", recorded(600))
    done = check("data", str(file))
    assert done.exit_code == 0, done.output
    assert "contract: kept" in done.output
    assert "BTC-USD" in done.output
    assert "missing minutes      0 in 0 gaps" in done.output


def test_broken_recording_is_told_with_places_and_what_to_do(tmp_path: Path) -> None:
    columns = recorded(600)
    for name in ("open", "high", "low", "close"):
        columns[name][300] *= 1.5
    kept = np.ones(600, dtype=bool)
    kept[100:110] = False
    file = write_recording(tmp_path / "bad.parquet", {name: column[kept] for name, column in columns.items()})
    done = check("data", str(file))
    assert done.exit_code == 1
    at = str(columns["timestamp"][300]).replace("T", " ")[:16]
    assert "10 in 1 gaps" in done.output
    assert f"no jumps: 2 rows with a jump further than a market moves in a minute, the first at {at}" in done.output
    assert "-> compare with another exchange" in done.output
    found = json.loads(check("data", str(file), "--json").output)
    assert found["contract"].startswith("2 rows with a jump")
    assert found["quality"]["gaps"] == 10
    assert found["quality"]["first_gaps"][0]["minutes"] == 10
    assert list(found["pairs"]) == ["bad"]


def test_pairs_of_one_file_stand_side_by_side_and_can_be_chosen(tmp_path: Path) -> None:
    one, two = recorded(300), recorded(300, seed=2)
    two["low"][7] = two["high"][7] * 2
    both = {name: np.concatenate([one[name], two[name]]) for name in one}
    both["symbol"] = np.repeat(["BTC/USD", "ETH/USD"], 300)
    file = write_recording(tmp_path / "both.parquet", both)
    assert set(json.loads(check("data", str(file), "--json").output)["pairs"]) == {"BTC/USD", "ETH/USD"}
    assert check("data", str(file), "--pair", "BTC/USD").exit_code == 0
    assert check("data", str(file), "--pair", "ETH/USD").exit_code == 1


def test_minutes_without_volume_are_synthetic(tmp_path: Path) -> None:
    columns = recorded(400)
    columns["volume"][:100] = 0.0
    file = write_recording(tmp_path / "thin.parquet", columns)
    assert json.loads(check("data", str(file), "--json").output)["quality"]["synthetic"] == 100


BAD: list[tuple[str, Any, str]] = [
    ("no close", lambda c: c.pop("close"), "lacks close: needed are timestamp, open, high, low, close, volume"),
    ("text", lambda c: c.update(close=np.full(5, "many")), "column close holds"),
    ("empty", lambda c: c.update({name: column[:0] for name, column in c.items()}), "has no rows"),
    ("no time", lambda c: c["timestamp"].__setitem__(2, np.datetime64("NaT")), "1 rows have no timestamp"),
]


@pytest.mark.parametrize(("spoil", "told"), [one[1:] for one in BAD], ids=[one[0] for one in BAD])
def test_file_that_cannot_be_looked_at_says_what_it_needs(spoil: Any, told: str, tmp_path: Path) -> None:
    columns = recorded(5)
    spoil(columns)
    done = check("data", str(write_recording(tmp_path / "odd.parquet", columns)))
    assert isinstance(done.exception, BadInputError)
    assert told in str(done.exception)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    text = one_line_error(tickcast("check", "data", "nowhere.parquet", cwd=tmp_path))
    assert "nowhere.parquet cannot be read as Parquet" in text


@pytest.mark.component
def test_store_is_read_as_the_trainer_reads_it(
    store_client: Client, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    candles = market(400, 100.0, silences=0)
    fold = PairFeatures("BTC/USD", "1m", 902_000, lambda _: None)
    made = [row for candle in candles for row in fold.apply(candle)]
    rows.insert_candles(store_client, candles, "a")
    kept = [*made[:300], *made[303:]]
    rows.insert_features(store_client, kept, "a")
    changes = {
        "TICKCAST_CLICKHOUSE_URL": store_settings.clickhouse_url,
        "TICKCAST_STORE_PORT": str(store_settings.store_port),
        "TICKCAST_CLICKHOUSE_DATABASE": store_settings.clickhouse_database,
        # The options set these; here they are given back.
        "TICKCAST_PAIRS": "ADA/USD",
        "TICKCAST_TRAIN_HISTORY_DAYS": "30",
    }
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    done = check("data", "--pair", "BTC/USD", "--days", "0.2", "--json")
    assert done.exit_code == 0, done.output
    quality = json.loads(done.stdout)["quality"]
    silent = sum(row.synthetic for row in kept[112:])
    assert (quality["rows"], quality["gaps"], quality["synthetic"]) == (285, 3, silent)
    assert quality["cold"] == 17, "features were read too"
    nothing = check("data", "--pair", "ETH/USD")
    assert "no 1m features of ETH/USD" in str(nothing.exception)
