from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from redpanda.errors import ConfigError
from tables.clickhouse import migrate, queries
from tables.clickhouse.client import connect
from tables.clickhouse.columns import TABLES
from tables.clickhouse.settings import StoreSettings
from tables.features import FEATURE_NAMES
from tables.features.arrays import Array, Columns
from tables.features.catalog import CATALOG, Catalog
from tables.features.indicator import Indicator
from tables.features.window import Window

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

ALL = [f"{migration.version:04}_{migration.name}" for migration in migrate.migrations()]


def test_scripts_are_numbered_without_holes() -> None:
    numbers = [migration.version for migration in migrate.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def scripted_features() -> list[str]:
    """Columns of table `features` that the scripts name; newer ones come from the catalogue."""
    sql = "".join(migration.sql for migration in migrate.migrations())
    table = sql[sql.index("CREATE TABLE IF NOT EXISTS features") :]
    columns = re.findall(r"^    (\w+) +\S", table[: table.index("\n)")], re.MULTILINE)
    return columns + re.findall(r"ALTER TABLE features ADD COLUMN (?:IF NOT EXISTS )?(\w+)", sql)


def test_the_features_script_has_no_name_that_the_catalogue_lacks() -> None:
    columns = scripted_features()
    head = [column.name for column in TABLES["features"] if column.name not in FEATURE_NAMES]
    assert set(columns) - set(head) <= set(FEATURE_NAMES), (
        "an indicator lost a name: keep its column, writers leave it out; take the name out here"
    )


@pytest.mark.component
def test_a_feature_of_a_new_indicator_gets_its_column(store_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    last = FEATURE_NAMES[-1]
    store_client.command("INSERT INTO features (pair, timeframe, open_time, tod_cos) VALUES ('BTC/USD', '1m', 0, 7)")

    class Toy(Indicator):
        place = 9_000
        names = ("toy_1", "toy_2")
        about = ("One, it's a toy", "Two \\ of them")
        warm_up = (0, 0)

        def update(self, window: Window) -> tuple[float, float]:
            return window.close, window.open_ms

        @classmethod
        def bulk(cls, bars: Columns) -> list[Array]:
            return [bars["close"], bars["close"]]

    monkeypatch.setattr(migrate, "CATALOG", Catalog([*CATALOG.indicators, Toy]))
    assert any("lacks toy_1, toy_2: run `tickcast store migrate`" in one for one in migrate.verify(store_client))
    assert migrate.apply(store_client) == ["features.toy_1", "features.toy_2"]
    assert migrate.apply(store_client) == []
    assert migrate.verify(store_client) == []
    found = store_client.query(
        "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = 'features' "
        "ORDER BY position DESC LIMIT 3"
    ).result_rows
    assert found == [
        ("toy_2", "Float64", "Two \\ of them"),
        ("toy_1", "Float64", "One, it's a toy"),
        (last, "Float64", CATALOG.about[last]),
    ]
    ((value, older),) = store_client.query("SELECT tod_cos, toy_1 FROM features").result_rows
    assert value == 7
    assert math.isnan(older)


@pytest.mark.component
def test_a_new_database_gets_everything_and_a_second_run_nothing(store_settings: StoreSettings) -> None:
    client = connect(store_settings)
    newer = [name for name in FEATURE_NAMES if name not in scripted_features()]
    assert migrate.apply(client) == ALL + [f"features.{name}" for name in newer]
    assert migrate.apply(client) == []
    assert migrate.verify(client) == []
    assert all(state.applied_at_ms for state in migrate.status(client))
    client.command(f"DROP DATABASE `{client.database}`", use_database=False)
    client.close()


@pytest.mark.component
def test_a_run_that_was_cut_is_finished_by_the_next(store_client: Client) -> None:
    # The table is there but its record is not: the process died between the two.
    store_client.command("ALTER TABLE schema_migrations DELETE WHERE version = 3 SETTINGS mutations_sync = 2")
    assert any("0003_features is pending" in problem for problem in migrate.verify(store_client))
    assert migrate.apply(store_client) == ["0003_features"]
    assert migrate.verify(store_client) == []


@pytest.mark.component
def test_an_edited_script_is_refused(store_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = migrate.migrations()
    edited = (*scripts[:-1], msgspec.structs.replace(scripts[-1], sql=scripts[-1].sql + "-- changed\n"))
    monkeypatch.setattr(migrate, "migrations", lambda: edited)
    with pytest.raises(ConfigError, match="was edited after it had been applied"):
        migrate.apply(store_client)


@pytest.mark.component
def test_a_repeat_without_a_token_is_written_again(store_client: Client) -> None:
    """RisingWave's: a server that was killed between its note of a block and the rows knows the block without rows."""
    for _ in range(2):
        store_client.command("INSERT INTO market_rolling (pair, open_time, close) VALUES ('BTC/USD', 1526169600, 1)")
    assert store_client.query("SELECT count() FROM market_rolling").result_rows == [(2,)]
    assert store_client.query("SELECT count() FROM market_rolling FINAL").result_rows == [(1,)]


@pytest.mark.component
def test_verify_sees_a_table_that_was_dropped_or_changed_by_hand(store_client: Client) -> None:
    assert migrate.verify(store_client) == []
    store_client.command("ALTER TABLE holes MODIFY COLUMN tries UInt64")
    store_client.command("ALTER TABLE candles ADD COLUMN note String")  # what others add does no harm
    (changed,) = migrate.verify(store_client)
    assert changed.startswith("column tries of table holes is UInt64 and not UInt32: sinks cannot write it")


@pytest.mark.component
def test_what_was_dropped_is_made_again_by_what_verify_says(store_client: Client) -> None:
    for kind, name in (
        ("TABLE", "features"),
        ("TABLE", "forecasts"),
        ("TABLE", "market_rolling"),
        ("VIEW", "candles_any"),
    ):
        store_client.command(f"DROP {kind} {name}")
        (gone,) = migrate.verify(store_client)
        assert gone.startswith(f"{name} is gone")
        statement = re.search(r"`(ALTER TABLE schema_migrations [^`]+)`", gone)
        assert statement is not None
        store_client.command(statement[1], settings={"mutations_sync": 1})
        assert migrate.apply(store_client) != []
        assert migrate.verify(store_client) == []


@pytest.mark.component
def test_reading_an_empty_database_says_to_migrate(store_settings: StoreSettings) -> None:
    client = connect(store_settings)
    with pytest.raises(ConfigError, match="tickcast store migrate"):
        queries.pairs(client)
    client.close()


@pytest.mark.component
def test_writers_know_the_columns_of_the_tables(store_client: Client) -> None:
    for table, columns in TABLES.items():
        found = store_client.query(
            "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() "
            "AND table = {table:String} AND default_kind IN ('', 'DEFAULT') ORDER BY position",
            parameters={"table": table},
        ).result_rows
        assert [(name, kind) for name, kind, _ in found] == [(column.name, column.type) for column in columns]
        assert all(comment for _, _, comment in found)
