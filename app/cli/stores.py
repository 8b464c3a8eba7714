"""`tickcast store`: the local ClickHouse store and its migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, override, say

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from tables.clickhouse.settings import StoreSettings

__all__ = ["cli"]

cli = typer.Typer(
    help="The ClickHouse store: serve, migrate, status, verify, sql.", no_args_is_help=True, rich_markup_mode=None
)


@cli.command()
@examples(
    "tickcast store serve",
    "tickcast store serve --home .tickcast",
)
def serve(home: Home = None) -> None:
    """Run the local store: the real engine behind a loopback HTTP port with a token."""
    override(home=home)
    log_to_stderr()
    from app.settings import AppSettings
    from tables.clickhouse.local.server import run
    from tables.clickhouse.settings import StoreSettings

    run(StoreSettings(), AppSettings().home)


@cli.command()
@examples(
    "tickcast store migrate",
    "TICKCAST_CLICKHOUSE_URL=clickhouse://user:secret@host:8123/tickcast tickcast store migrate",
)
def migrate(home: Home = None) -> None:
    """Apply the numbered SQL files that this store has not seen yet, and the times to live. Safe to repeat."""
    override(home=home)
    log_to_stderr(level=30)
    from tables.clickhouse import client, migrate
    from tables.clickhouse.settings import StoreSettings

    settings = StoreSettings()
    connection = client.connect(settings)
    applied = [f"applied {name}" for name in migrate.apply(connection)] + migrate.apply_ttls(connection, settings)
    say("\n".join(applied) or "nothing to apply: the schema is up to date")


@cli.command()
@examples(
    "tickcast store sql --cluster main > cluster.sql",
    'tickcast store sql --dashboards $(printf %s "$PASSWORD" | sha256sum | cut -c1-64)',
)
def sql(
    cluster: Annotated[str, typer.Option(help="Name of the cluster: its replicated and sharded schema.")] = "",
    dashboards: Annotated[str, typer.Option(help="SHA-256 (hex) of the dashboards' password: their user.")] = "",
) -> None:
    """Print SQL for a ClickHouse server or cluster, made of the migrations; it is run by its administrator."""
    from redpanda.errors import BadInputError
    from tables.clickhouse.deploy import cluster_sql, dashboard_sql
    from tables.clickhouse.migrate import whole_schema
    from tables.clickhouse.settings import StoreSettings

    if not cluster and not dashboards:
        raise BadInputError("say which SQL: --cluster NAME, --dashboards SHA256, or both")
    settings = StoreSettings()
    found = cluster_sql(whole_schema(), cluster, settings) if cluster else []
    if dashboards:
        found += dashboard_sql(settings, dashboards, settings.clickhouse_database, cluster)
    say("\n\n".join(f"{statement};" for statement in found))


@cli.command()
@examples(
    "tickcast store status",
)
def status(home: Home = None) -> None:
    """Say which migrations are applied and which are open."""
    override(home=home)
    log_to_stderr(level=30)
    from tables.clickhouse import client, migrate
    from tables.clickhouse.settings import StoreSettings

    for state in migrate.status(client.connect(StoreSettings())):
        word = "pending" if state.applied_at_ms is None else "EDITED" if state.edited else "applied"
        say(f"{word:<8} {state.version:04}_{state.name}")


@cli.command()
@examples(
    "tickcast store verify",
    "tickcast store verify --topics",
    "tickcast store verify --home .tickcast-kraken",
)
def verify(
    home: Home = None,
    topics: Annotated[
        bool,
        typer.Option("--topics", help="Look for every row, too, that the topics have told and the sinks committed."),
    ] = False,
) -> None:
    """Compare the store's tables with the schema in the repository; exit code 1 when they differ."""
    join_stack(home)
    log_to_stderr(level=30)
    from tables.clickhouse import client, migrate
    from tables.clickhouse.settings import StoreSettings

    settings = StoreSettings()
    connection = client.connect(settings)
    problems = migrate.verify(connection)
    say("\n".join(problems) or "the store matches the schema")
    if topics and not problems:
        problems = _against_topics(connection, settings)
    if problems:
        raise typer.Exit(1)


def _against_topics(connection: Client, settings: StoreSettings) -> list[str]:
    """Print what of the topics the store has; gives what is wrong."""
    from app.cli.progress import progress
    from app.cli.proof_tables import grid
    from app.store_check import REBUILT, check
    from redpanda.settings import BrokerSettings
    from redpanda.topics import GROUP

    with progress() as tell:
        found = check(connection, settings, BrokerSettings(), tell)
    head = ("topic", "committed", "rows", "missing", "older", "expired", "waiting")
    say(
        grid(
            head,
            [
                (
                    one.topic,
                    *(f"{n:,}" for n in (one.records, one.rows, one.missing, one.older, one.expired, one.waiting)),
                )
                for one in found
            ],
        )
    )
    problems = [
        f"{one.table}: {one.missing:,} missing, {one.older:,} in an older version, the first: {one.example}. "
        "Rows that the store refused are in dead_letters and stay missing. "
        + (
            "`tickcast rebuild` computes the others again."
            if one.topic in REBUILT
            else f"Topic {one.topic} has the others: with all workers stopped, set its offsets of group {GROUP} "
            "back with your broker's tools, and they are stored when workers start."
        )
        for one in found
        if not one.is_whole
    ]
    say("\n".join(problems) or "the store has every row that the sinks have committed")
    return problems
