"""SQL for servers and clusters: every table is in it, and the engine can read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from redpanda.errors import BadInputError
from tables.clickhouse import migrate
from tables.clickhouse.columns import TABLES
from tables.clickhouse.deploy import TTL_COLUMNS, cluster_sql, dashboard_sql, ttl_changes
from tables.clickhouse.settings import StoreSettings
from tables.clickhouse.sql import first_word
from tests.support.store import local_only

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

SETTINGS = StoreSettings(clickhouse_database="market", store_ttl_days_candles=400)
SHA = "ab" * 32


def cluster() -> list[str]:
    return cluster_sql(migrate.whole_schema(), "main", SETTINGS)


def test_every_table_of_the_migrations_is_in_the_cluster_twice_and_every_view_once() -> None:
    scripts = "".join(migrate.whole_schema())
    tables = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", scripts))
    views = set(re.findall(r"CREATE VIEW IF NOT EXISTS (\w+)", scripts))
    created = re.compile(r"^CREATE (TABLE|VIEW) IF NOT EXISTS market\.(\w+) ON CLUSTER `main`", re.MULTILINE)
    made = created.findall("\n".join(cluster()))
    assert tables >= set(TABLES)
    assert sorted(name for kind, name in made if kind == "TABLE") == sorted(
        [*tables, *(f"{table}_local" for table in tables)]
    )
    assert {name for kind, name in made if kind == "VIEW"} == views


def test_the_parts_are_replicated_with_the_version_and_window_of_one_server() -> None:
    found = {re.split(r"[\s(]", part.split("market.")[1])[0]: part for part in cluster() if "Replicated" in part}
    assert "'{replica}', as_of)" in found["candles_local"]
    assert "'{replica}', first_wins)" in found["forecasts_local"]
    assert "'{replica}')" in found["dead_letters_local"]
    for name, sql in found.items():
        assert ("replicated_deduplication_window = 1000" in sql) == (name != "schema_migrations_local"), name
        assert "non_replicated" not in sql
    assert "MODIFY SETTING" not in "".join(cluster()), "what is set so late is for single servers"
    assert "ALTER TABLE market.candles_local ON CLUSTER `main` MODIFY TTL toDateTime(open_time)" in cluster()[-1]


def test_a_statement_of_an_unknown_kind_is_not_passed_over() -> None:
    with pytest.raises(BadInputError, match="Teach tables/clickhouse/deploy"):
        cluster_sql(["CREATE TABLE IF NOT EXISTS x (a Int8) ENGINE = Log"], "main", SETTINGS)


@pytest.mark.parametrize(("name", "sha"), [("a`; DROP", SHA), ("main", "secret"), ("main", SHA.upper())])
def test_a_name_or_a_password_that_is_none_is_refused(name: str, sha: str) -> None:
    with pytest.raises(BadInputError):
        dashboard_sql(SETTINGS, sha, "market", name)


@pytest.mark.component
def test_the_engine_reads_every_statement(store_client: Client) -> None:
    def read(sql: str) -> str:  # the parser alone: it needs neither a cluster nor rights
        return str(store_client.query("SELECT formatQuery({sql:String})", parameters={"sql": sql}).result_rows[0][0])

    for sql in [*cluster(), *dashboard_sql(SETTINGS, SHA, "market"), *dashboard_sql(SETTINGS, SHA, "market", "main")]:
        assert first_word(read(sql)) == first_word(sql), sql
    for wrong in ("CREATE QUOTA q FOR INTERVAL 1 minute MAX questions = 1", "CREATE TABLE t ON CLUSTER (a Int8)"):
        with pytest.raises(DatabaseError):
            read(wrong)


@local_only
@pytest.mark.component
def test_the_local_store_says_that_it_has_no_users(store_client: Client) -> None:
    for sql in dashboard_sql(SETTINGS, SHA, "market"):
        with pytest.raises(DatabaseError) as caught:
            store_client.command(sql)
        assert caught.value.code in {192, 497, 511}, sql


@pytest.mark.component
def test_times_to_live_follow_the_settings_and_are_set_once(store_client: Client) -> None:
    some = StoreSettings(store_ttl_days_candles=30, store_ttl_days_alerts=7)
    other = StoreSettings(store_ttl_days_candles=31)
    assert migrate.apply_ttls(store_client, StoreSettings()) == []
    assert migrate.apply_ttls(store_client, some) == [
        "candles: rows expire after 30 days",
        "alerts: rows expire after 7 days",
    ]
    assert migrate.apply_ttls(store_client, some) == []
    assert migrate.apply_ttls(store_client, other) == [
        "candles: rows expire after 31 days",
        "alerts: rows are kept",
    ]
    store_client.command("INSERT INTO candles (pair, open_time) VALUES ('OLD', '2020-01-01'), ('NEW', now())")
    store_client.command("OPTIMIZE TABLE candles FINAL")
    assert store_client.query("SELECT pair FROM candles").result_rows == [("NEW",)]
    assert migrate.apply_ttls(store_client, StoreSettings()) == ["candles: rows are kept"]
    assert migrate.verify(store_client) == []


@pytest.mark.component
def test_every_table_can_expire(store_client: Client) -> None:
    everywhere = StoreSettings.model_validate({f"store_ttl_days_{table}": 10 for table in TTL_COLUMNS})
    found = store_client.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() "
        "AND engine LIKE '%MergeTree' AND name != 'schema_migrations'"
    ).result_rows
    shown: dict[str, str] = {name: sql for name, sql in found}  # noqa: C416  # mypy knows no dict of sequences
    assert set(shown) == {*TTL_COLUMNS, "models"}, "what serves may have gone into service long ago: it never expires"
    assert {change.table for change in ttl_changes(everywhere, shown)} == set(TTL_COLUMNS)
    assert len(migrate.apply_ttls(store_client, everywhere)) == len(TTL_COLUMNS)
