"""`tickcast risingwave`: streaming views as code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, say

if TYPE_CHECKING:
    from tables.risingwave.script import Piece

__all__ = ["cli"]

cli = typer.Typer(
    help="Streaming views in RisingWave: apply, status, list.", no_args_is_help=True, rich_markup_mode=None
)


def _wanted() -> list[Piece]:
    from redpanda.settings import BrokerSettings
    from tables.clickhouse.settings import StoreSettings
    from tables.risingwave import script
    from tables.risingwave.settings import RisingWaveSettings

    return script.pieces(script.values(RisingWaveSettings(), BrokerSettings(), StoreSettings()))


@cli.command()
@examples(
    "tickcast risingwave apply --dry-run",
    "TICKCAST_RISINGWAVE_URL=postgresql://root@127.0.0.1:4566/dev tickcast risingwave apply",
)
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the statements and run none.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also drop and make anew what changed, with all that reads it.")
    ] = False,
    home: Home = None,
) -> None:
    """Create the sources, views and sinks that are missing. Safe to repeat; drops only with --replace."""
    join_stack(home)
    log_to_stderr(level=30)
    from tables.risingwave import apply as applying
    from tables.risingwave.settings import RisingWaveSettings

    settings, wanted = RisingWaveSettings(), _wanted()
    if dry_run and not settings.risingwave_url:  # against an empty database
        say("".join(f"{piece.shown};\n\n" for piece in wanted).rstrip())
        return
    with applying.connect(settings) as database:
        if dry_run:
            todo = applying.plan(database, wanted)
            lines = [f"DROP {kind} IF EXISTS {name};" for kind, name in todo.drop]
            say("\n\n".join([*lines, *(f"{piece.shown};" for piece in todo.create)]) or "-- nothing to apply")
            return
        todo = applying.apply(database, wanted, replace=replace)
    lines = [f"dropped {name}" for _, name in todo.drop] + [f"applied {piece.name}" for piece in todo.create]
    say("\n".join(lines) or "nothing to apply: RisingWave has what the files say")


@cli.command()
@examples("tickcast risingwave status")
def status(home: Home = None) -> None:
    """Compare RisingWave with the files; exit code 1 where they differ."""
    join_stack(home)
    log_to_stderr(level=30)
    from tables.risingwave import apply as applying
    from tables.risingwave.settings import RisingWaveSettings

    with applying.connect(RisingWaveSettings()) as database:
        states = applying.status(database, _wanted())
    for state in states:
        say(f"{state.word:<8} {state.kind.lower():<18} {state.name}")
    if any(state.word != "applied" for state in states):
        raise typer.Exit(1)


@cli.command(name="list")
@examples("tickcast risingwave list")
def list_pieces() -> None:
    """List the sources, views and sinks of the files and what each reads. Needs no RisingWave."""
    for piece in _wanted():
        say(f"{piece.kind.lower():<18} {piece.name:<20} {', '.join(piece.needs)}".rstrip())
