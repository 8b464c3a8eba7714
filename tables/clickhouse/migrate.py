"""Numbered SQL scripts, applied once each and in order, and a column for each new feature.

Every statement is IF NOT EXISTS, so a cut run is repeated.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from redpanda.errors import ConfigError
from tables.clickhouse.client import store_errors
from tables.clickhouse.columns import TABLES
from tables.clickhouse.deploy import ttl_changes
from tables.clickhouse.settings import StoreSettings
from tables.clickhouse.sql import split_statements
from tables.features.catalog import CATALOG, FEATURE_NAMES, Catalog

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = [
    "Migration",
    "MigrationState",
    "apply",
    "apply_ttls",
    "feature_columns",
    "migrations",
    "status",
    "verify",
    "whole_schema",
]

FOLDER: Final = Path(__file__).parent / "migrations"
_NAMED: Final = re.compile(r"(?:CREATE (?:TABLE|VIEW) IF NOT EXISTS|ALTER TABLE) (\w+)")


class Migration(msgspec.Struct, frozen=True, dict=True):
    """One script of the folder."""

    version: int
    name: str
    sql: str

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationState(msgspec.Struct, frozen=True):
    """What a database knows of one script."""

    version: int
    name: str
    applied_at_ms: int | None
    """None while it is pending."""
    edited: bool
    """The script is not the one that was applied."""


@lru_cache
def migrations() -> tuple[Migration, ...]:
    """All scripts by number."""
    found = []
    for path in sorted(FOLDER.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text()))
    return tuple(found)


def apply(client: Client) -> list[str]:
    """Make the database and everything in it that is missing; returns the names of what was applied.

    Raises
    ------
    ConfigError
        A script was edited after it had been applied.
    """
    with store_errors("applying migrations"):
        client.command(f"CREATE DATABASE IF NOT EXISTS `{client.database}`", use_database=False)
        client.command(split_statements(migrations()[0].sql)[0])
        done = status(client)
        for state in done:
            if state.edited:
                raise ConfigError(
                    f"migration {state.version:04}_{state.name} was edited after it had been applied to "
                    f"{client.database}: undo the edit and write a new one with the next number"
                )
        applied = []
        for migration, state in zip(migrations(), done, strict=True):
            if state.applied_at_ms is None:
                _apply_one(client, migration)
                applied.append(f"{migration.version:04}_{migration.name}")
        for name, statement in feature_columns(CATALOG, _columns_of_features(client)).items():
            client.command(statement)
            applied.append(f"features.{name}")
        return applied


def whole_schema() -> list[str]:
    """Give every script and, last, the columns that the catalogue has added to `features` since."""
    scripts = [migration.sql for migration in migrations()]
    named = set(re.findall(r"\b\w+\b", "".join(scripts)))
    return [*scripts, *feature_columns(CATALOG, named).values()]


def apply_ttls(client: Client, settings: StoreSettings) -> list[str]:
    """Make the times to live those of the settings; returns what was changed, nothing the second time.

    Old rows go with later merges.
    """
    with store_errors("setting times to live"):
        rows = client.query(
            "SELECT name, create_table_query FROM system.tables "
            "WHERE database = {db:String} AND engine LIKE '%MergeTree'",
            parameters={"db": client.database},
        ).result_rows
        changes = ttl_changes(settings, {name: shown for name, shown in rows})  # noqa: C416  # mypy knows no dict of sequences
        for change in changes:
            client.command(change.sql)
    return [
        f"{change.table}: " + (f"rows expire after {change.days} days" if change.days else "rows are kept")
        for change in changes
    ]


def feature_columns(catalog: Catalog, known: set[str]) -> dict[str, str]:
    """Give the statement that adds each column which table `features` lacks, by its name.

    Rows from before have NaN in it: the feature was not known then.
    """
    found = {}
    before = "bars"
    for name, about in catalog.about.items():
        if name not in known:
            comment = about.replace("\\", "\\\\").replace("'", "\\'")
            found[name] = (
                f"ALTER TABLE features ADD COLUMN IF NOT EXISTS {name} Float64 DEFAULT nan COMMENT '{comment}' "
                f"CODEC(Gorilla, ZSTD(1)) AFTER {before}"
            )
        before = name
    return found


def status(client: Client) -> list[MigrationState]:
    """Tell of every script whether this database has it."""
    with store_errors("reading migrations"):
        known = _recorded(client)
    states = []
    for migration in migrations():
        checksum, at_ms = known.get(migration.version, ("", None))
        edited = at_ms is not None and checksum != migration.checksum
        states.append(MigrationState(migration.version, migration.name, at_ms, edited))
    return states


def verify(client: Client) -> list[str]:
    """List what is wrong with the schema, each with the next step; empty when all is well."""
    with store_errors("verifying the schema"):
        problems = [
            f"migration {state.version:04}_{state.name} "
            + (
                "was edited after it had been applied: undo the edit"
                if state.edited
                else "is pending: run `tickcast store migrate`"
            )
            for state in status(client)
            if state.edited or state.applied_at_ms is None
        ]
        ours = {migration.version for migration in migrations()}
        problems += [
            f"migration {version:04} is of a newer tickcast: update this one"
            for version in _recorded(client)
            if version not in ours
        ]
        return problems or _changed_by_hand(client)  # what is pending has been said


def _changed_by_hand(client: Client) -> list[str]:
    """Name tables and views that are gone, and tables whose columns are not those that the sinks write."""
    found: dict[str, dict[str, str]] = {}
    sql = "SELECT table, name, type FROM system.columns WHERE database = {db:String}"
    for table, name, kind in client.query(sql, parameters={"db": client.database}).result_rows:
        found.setdefault(table, {})[name] = kind
    sql = "SELECT name FROM system.tables WHERE database = {db:String}"  # a view with parameters shows no columns
    there = {name for (name,) in client.query(sql, parameters={"db": client.database}).result_rows}
    problems = [
        f"{name} is gone though its script was applied: to have it made again, empty if it is a table, run "
        f"`ALTER TABLE schema_migrations DELETE WHERE version IN ({', '.join(map(str, versions))})`, "
        "then `tickcast store migrate`"
        for name, versions in _scripts_of().items()
        if name not in there
    ]
    if "features" in found:
        missing = feature_columns(CATALOG, set(found["features"]))
        if missing:
            problems.append(f"table features lacks {', '.join(missing)}: run `tickcast store migrate`")
    for table, columns in TABLES.items():
        has = found.get(table, {})
        odd = [one for one in columns if has and has.get(one.name) != one.type and one.name not in FEATURE_NAMES]
        problems += [
            f"column {one.name} of table {table} is {has.get(one.name, 'gone')} and not {one.type}: "
            "sinks cannot write it; change it back with ALTER TABLE"
            for one in odd
        ]
    return problems


def _scripts_of() -> dict[str, list[int]]:
    """Give the numbers of the scripts that make or alter each table and view."""
    found: dict[str, list[int]] = {}
    for migration in migrations():
        for name in set(_NAMED.findall(migration.sql)):
            found.setdefault(name, []).append(migration.version)
    return found


def _columns_of_features(client: Client) -> set[str]:
    rows = client.query(
        "SELECT name FROM system.columns WHERE database = {db:String} AND table = 'features'",
        parameters={"db": client.database},
    ).result_rows
    return {name for (name,) in rows}


def _recorded(client: Client) -> dict[int, tuple[str, int | None]]:
    if client.command("EXISTS TABLE schema_migrations") == 0:
        return {}
    rows = client.query(
        "SELECT version, checksum, toUnixTimestamp64Milli(applied_at) FROM schema_migrations FINAL ORDER BY version"
    ).result_rows
    return {version: (checksum, at_ms) for version, checksum, at_ms in rows}


def _apply_one(client: Client, migration: Migration) -> None:
    for statement in split_statements(migration.sql):
        client.command(statement)
    client.insert(
        "schema_migrations",
        [[migration.version, migration.name, migration.checksum]],
        column_names=["version", "name", "checksum"],
        settings={"async_insert": 0},
    )
