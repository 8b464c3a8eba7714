"""`tickcast topics`: make the cluster match `redpanda/topics.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, say

__all__ = ["cli"]

cli = typer.Typer(help="Topics as code: apply, diff, list.", no_args_is_help=True, rich_markup_mode=None)


@cli.command()
@examples(
    "tickcast topics apply",
    "TICKCAST_BROKER_URL=broker:9092 TICKCAST_REPLICATION=3 tickcast topics apply",
)
def apply(
    prune: Annotated[
        bool, typer.Option("--prune", help="Also delete tickcast topics that are declared no more.")
    ] = False,
    home: Home = None,
) -> None:
    """Create and alter topics until the cluster matches. Safe to repeat; deletes only with --prune."""
    join_stack(home)
    log_to_stderr(level=30)
    from redpanda import admin
    from redpanda.settings import BrokerSettings

    settings = BrokerSettings()
    with admin.connect(settings) as client:
        found = admin.apply(client, settings, prune=prune)
    say("\n".join(found.lines()) or "nothing to change: the cluster matches")


@cli.command()
@examples(
    "tickcast topics diff || tickcast topics apply",
)
def diff(home: Home = None) -> None:
    """Show what `apply` would change; exit code 1 when there is something."""
    join_stack(home)
    log_to_stderr(level=30)
    from redpanda import admin
    from redpanda.settings import BrokerSettings

    settings = BrokerSettings()
    with admin.connect(settings) as client:
        found = admin.diff(client, settings)
    say("\n".join(found.lines()) or "no difference")
    if not found.empty:
        raise typer.Exit(1)


@cli.command(name="list")
@examples(
    "tickcast topics list",
)
def list_topics() -> None:
    """List the declared topics: name, what a record is, policy. Needs no broker."""
    from redpanda.topics import TOPICS

    for topic in TOPICS:
        days, rest_ms = divmod(topic.retention_ms, 86_400_000)
        kept = "for ever" if topic.retention_ms < 0 else f"{rest_ms // 3_600_000} h" if rest_ms else f"{days} d"
        say(f"{topic.name:<16} {topic.cleanup:<15} {kept:<8} {topic.value}")
