from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from redpanda.errors import ConfigError
from tables.clickhouse import migrate, queries
from tables.clickhouse.client import connect
from tables.clickhouse.rows import TABLES
from tables.clickhouse.settings import StoreSettings
from tables.features import FEATURE_NAMES

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

ALL = [f"{migration.version:04}_{migration.name}" for migration in migrate.migrations()]


def test_scripts_are_numbered_without_holes() -> None:
    assert [migration.version for migration in migrate.migrations()] == list(range(1, len(ALL) + 1))


def test_the_features_script_has_every_name_of_the_catalogue() -> None:
    sql = "".join(migration.sql for migration in migrate.migrations())
    table = sql[sql.index("CREATE TABLE IF NOT EXISTS features") :]
    columns = re.findall(r"^    (\w+) +\S", table[: table.index("\n)")], re.MULTILINE)
    columns += re.findall(r"ALTER TABLE features ADD COLUMN (?:IF NOT EXISTS )?(\w+)", sql)
    head = [column.name for column in TABLES["features"] if column.name not in FEATURE_NAMES]
    assert set(columns) - set(head) == set(FEATURE_NAMES), (
        "tables/features/catalog.py and the SQL disagree: write a new script in tables/clickhouse/migrations with "
        "ALTER TABLE features ADD COLUMN for a new name; keep the column of a name that went, and take it out here"
    )


@pytest.mark.component
def test_a_new_database_gets_everything_and_a_second_run_nothing(store_settings: StoreSettings) -> None:
    client = connect(store_settings)
    assert migrate.apply(client) == ALL
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
            "AND table = {table:String} AND default_kind = '' ORDER BY position",
            parameters={"table": table},
        ).result_rows
        assert [(name, kind) for name, kind, _ in found] == [(column.name, column.type) for column in columns]
        assert all(comment for _, _, comment in found)
