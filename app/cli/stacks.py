"""Commands that bring up a whole local stack: demo and replay."""

from __future__ import annotations

from pathlib import Path  # Typer reads it at run time
from typing import Annotated

import typer

from app.cli.common import Home, Pairs, examples, log_to_stderr, override

__all__ = ["add_to"]


def add_to(cli: typer.Typer) -> None:
    cli.command()(demo)
    cli.command()(replay)


@examples(
    "tickcast demo",
    "tickcast demo --source kraken --home .tickcast-kraken --pairs BTC/USD,ETH/USD",
    "tickcast demo --source replay:trades.csv.gz --home /tmp/replay",
    "tickcast demo --until first-forecast --report demo.json",
)
def demo(
    source: Annotated[
        str | None,
        typer.Option(help="sim (a simulated market), kraken (live) or replay:FILE (TICKCAST_SOURCE, default sim)."),
    ] = None,
    pairs: Pairs = None,
    since: Annotated[
        str | None, typer.Option(help="How much history to fetch first: 90m, 12h, 3d, or 0 for none.")
    ] = None,
    home: Home = None,
    until: Annotated[
        str | None,
        typer.Option(help="Stop by itself: first-forecast, or a number of seconds. Default: on Ctrl-C."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write what happened to this file as JSON when it stops.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write the last screen to this file as SVG when it stops.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the simulated market (another seed: another --home).")
    ] = None,
) -> None:
    """Start the whole local stack and watch it: broker, store, source, worker, trainer, API.

    Everything lives in one folder (--home); a second start goes on where the first stopped.
    Ctrl-C stops it all.
    """
    override(source=source, pairs=pairs, since=since, home=home, sim_seed=seed)
    log_to_stderr(level=40)
    from app.demo import parse_until, run
    from app.settings import AppSettings

    raise typer.Exit(run(AppSettings(), until=parse_until(until), report=report, picture=picture))


@examples(
    "tickcast replay trades.csv.gz --ledger ledger.json",
    "tickcast replay trades.csv.gz --pairs BTC/USD --from 2018-05-13 --to 2018-05-18",
)
def replay(
    file: Annotated[Path, typer.Argument(help="Recorded trades: .csv, .csv.gz or .parquet.")],
    ledger: Annotated[Path | None, typer.Option(help="Write the ledger to this file as JSON.")] = None,
    pairs: Pairs = None,
    start: Annotated[str | None, typer.Option("--from", help="Only trades from this time on (ISO 8601).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only trades before this time (ISO 8601).")] = None,
    home: Home = None,
) -> None:
    """Replay recorded trades through the whole stack and compare every candle with a batch recompute.

    It brings up its own stack unless one that replays this file runs on --home.
    Exit code 1 when anything differs.
    """
    override(home=home, pairs=pairs)
    log_to_stderr(level=40)
    from app.replay import run

    raise typer.Exit(run(file, ledger, pairs=pairs, start=start, end=end))
