"""SQL for ClickHouse servers, made of the same migrations: a cluster's schema, the dashboards' user, times to live.

Everything here is text without I/O: `tickcast store sql` prints it, `tickcast store migrate` runs the times to live.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from redpanda.errors import BadInputError
from tables.clickhouse.settings import StoreSettings
from tables.clickhouse.sql import split_statements

__all__ = ["TTL_COLUMNS", "cluster_sql", "dashboard_sql", "ttl_changes"]

TTL_COLUMNS: Final[dict[str, str]] = {
    "candles": "open_time",
    "features": "open_time",
    "forecasts": "feature_open",
    "forecast_errors": "feature_open",
    "alerts": "at",
    "holes": "found_at",
    "dead_letters": "at",
    "trades": "time",
    "late_trades": "time",
    "market_rolling": "open_time",
}
"""Tables whose rows may expire, and the time that their age is counted from: the one of their partitions. Not `models`:
a row is written when a version goes into service, and it may serve for longer."""
LOCAL: Final = "_local"
"""What the part of a sharded table on one server is called, after the table's own name."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DATABASE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CREATE: Final = re.compile(r"CREATE (TABLE|VIEW) IF NOT EXISTS (\w+)")
_ENGINE: Final = re.compile(r"ENGINE = ReplacingMergeTree(?:\((\w+)\))?")
_ALTER: Final = re.compile(r"ALTER TABLE (\w+)")
_WINDOW: Final = "non_replicated_deduplication_window"
_SHARDED_BY: Final = {
    "dead_letters": "cityHash64(topic, partition, offset)",
    "schema_migrations": "0",
    "models": "horizon_s",
}


class Ttl(NamedTuple):
    """A change of one table's time to live."""

    table: str
    days: int
    """0: keep everything."""
    sql: str


def ttl_changes(settings: StoreSettings, expressions: dict[str, str]) -> list[Ttl]:
    """Give the statements that make the times to live those of the settings; none where they are so already.

    Parameters
    ----------
    expressions
        Each table's CREATE statement as the server shows it.

    """
    found = []
    for table in TTL_COLUMNS:
        days: int = getattr(settings, f"store_ttl_days_{table}")
        has = re.search(r"\bTTL toDateTime\(\w+\) \+ toIntervalDay\((\d+)\)", expressions.get(table, ""))
        if table not in expressions or int(has[1] if has else 0) == days:
            continue
        found.append(Ttl(table, days, f"ALTER TABLE {table} {_modify_ttl(table, days) if days else 'REMOVE TTL'}"))
    return found


def _modify_ttl(table: str, days: int) -> str:
    # Old rows go with the next merges and not at once: a wrong number can be taken back.
    return (
        f"MODIFY TTL toDateTime({TTL_COLUMNS[table]}) + toIntervalDay({days}) SETTINGS materialize_ttl_after_modify = 0"
    )


def cluster_sql(scripts: Iterable[str], cluster: str, settings: StoreSettings) -> list[str]:
    """Turn the statements of all migrations into those of a sharded and replicated cluster.

    Each table becomes `NAME_local` (ReplicatedReplacingMergeTree) on every server and `NAME` (Distributed) over them.
    Rows of one key lie on one shard, so FINAL stays right. Readers and writers use the same names as on one server.

    Raises
    ------
    BadInputError
        A name of a cluster or database that is none, or a statement that nobody taught this function.
    """
    database = settings.clickhouse_database
    for name, form in ((cluster, _NAME), (database, _DATABASE)):
        if not form.fullmatch(name):
            raise BadInputError(f"{name!r} is no name of a cluster or database: take letters, digits and _")
    on = f"ON CLUSTER `{cluster}`"
    found = [f"CREATE DATABASE IF NOT EXISTS {database} {on}"]
    for script in scripts:
        for statement in split_statements(script):
            found += _of_cluster(statement, on, cluster, database)
    days = {table: getattr(settings, f"store_ttl_days_{table}") for table in TTL_COLUMNS}
    return found + [
        f"ALTER TABLE {database}.{table}{LOCAL} {on} {_modify_ttl(table, kept)}" for table, kept in days.items() if kept
    ]


def _of_cluster(statement: str, on: str, cluster: str, database: str) -> list[str]:
    made = _CREATE.search(statement)
    if made and made[1] == "VIEW":
        return [_CREATE.sub(f"CREATE VIEW IF NOT EXISTS {database}.{made[2]} {on}", statement, count=1)]
    if made and _ENGINE.search(statement):
        table = made[2]
        local = _CREATE.sub(f"CREATE TABLE IF NOT EXISTS {database}.{table}{LOCAL} {on}", statement, count=1)
        local = _ENGINE.sub(_replicated, local).replace(_WINDOW, "replicated_deduplication_window")
        over = (
            f"CREATE TABLE IF NOT EXISTS {database}.{table} {on} AS {database}.{table}{LOCAL}\n"
            f"ENGINE = Distributed(`{cluster}`, {database}, {table}{LOCAL}, "
            f"{_SHARDED_BY.get(table, 'cityHash64(pair)')})"
        )
        return [local, over]
    altered = _ALTER.search(statement)
    if altered and _WINDOW in statement:
        return []  # replicas agree on a block and its part in one step: what it mends does not happen there
    if altered:
        names = (f"{altered[1]}{LOCAL}", altered[1])
        return [
            _without_codec(_ALTER.sub(f"ALTER TABLE {database}.{name} {on}", statement, count=1), name)
            for name in names
        ]
    raise BadInputError(f"no form for clusters is known of: {statement[:80]}. Teach tables/clickhouse/deploy.py")


def _without_codec(statement: str, name: str) -> str:
    """Leave the codec out of what is said of a Distributed table: it stores nothing."""
    return statement if name.endswith(LOCAL) else re.sub(r" CODEC\((?:[^()]|\([^()]*\))*\)", "", statement)


def _replicated(match: re.Match[str]) -> str:
    version = f", {match[1]}" if match[1] else ""
    return (
        "ENGINE = ReplicatedReplacingMergeTree("
        f"'/clickhouse/tables/{{shard}}/{{database}}/{{table}}', '{{replica}}'{version})"
    )


def dashboard_sql(settings: StoreSettings, password_sha256: str, database: str, cluster: str = "") -> list[str]:
    """Give the statements that make the dashboards' read-only user, its limits and its quota.

    Raises
    ------
    BadInputError
        Not a SHA-256 in hex, or a name that is none.
    """
    if not _SHA256.fullmatch(password_sha256):
        raise BadInputError("the password is given as its SHA-256: 64 digits in hex, in small letters")
    if not _DATABASE.fullmatch(database) or (cluster and not _NAME.fullmatch(cluster)):
        raise BadInputError(f"{database!r} or {cluster!r} is no name: take letters, digits and _")
    user = settings.store_dashboards_user
    on = f" ON CLUSTER `{cluster}`" if cluster else ""
    seconds, memory = settings.store_dashboards_query_s, settings.store_dashboards_memory_mb * 1_000_000
    queries = settings.store_dashboards_queries_per_minute
    # readonly = 2: the ClickHouse data source of Grafana sets settings of its own with each query.
    profile = (
        f"CREATE SETTINGS PROFILE OR REPLACE {user}{on} SETTINGS readonly = 2, "
        f"max_execution_time = {seconds} MAX {seconds}, max_memory_usage = {memory} MAX {memory}, "
        "max_result_rows = 200000 MAX 200000, max_rows_to_read = 200000000 MAX 200000000, "
        "max_concurrent_queries_for_user = 20 MAX 20"
    )
    quota = (
        f"CREATE QUOTA OR REPLACE {user}{on} KEYED BY user_name FOR INTERVAL 1 minute MAX queries = {queries}, "
        f"errors = {queries}, execution_time = {seconds * queries} TO {user}"
    )
    return [
        profile,
        f"CREATE USER IF NOT EXISTS {user}{on} IDENTIFIED WITH sha256_hash BY '{password_sha256}'",
        f"ALTER USER {user}{on} IDENTIFIED WITH sha256_hash BY '{password_sha256}' SETTINGS PROFILE '{user}'",
        f"REVOKE{on} ALL ON *.* FROM {user}",
        f"GRANT{on} SELECT ON {database}.* TO {user}",
        quota,
    ]
