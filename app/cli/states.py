"""`tickcast state`: what the workers' tables hold, and filling them again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, override, say
from app.cli.progress import progress

if TYPE_CHECKING:
    from app.state_places import Standing

__all__ = ["cli"]

cli = typer.Typer(
    help="The workers' tables (RocksDB): inspect, rebuild, reset.", no_args_is_help=True, rich_markup_mode=None
)
Worker = Annotated[
    str | None, typer.Option("--worker", help="Name of the worker's folder (TICKCAST_WORKER_NAME); not needed for one.")
]
Table = Annotated[str | None, typer.Option("--table", help="candle-state or feature-state. Default: both.")]
Partition = Annotated[int | None, typer.Option("--partition", help="One partition. Default: all.", min=0)]


@cli.command()
@examples(
    "tickcast state inspect",
    "tickcast state inspect --pair BTC/USD",
    "tickcast state inspect --table candle-state --json",
)
def inspect(
    pair: Annotated[str | None, typer.Option(help="Show one pair: watermark, windows, missing trade ids.")] = None,
    worker: Worker = None,
    table: Table = None,
    partition: Partition = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    home: Home = None,
) -> None:
    """Show keys, bytes and offsets of every table and partition, also while workers run.

    behind: records of the changelog that the folder lacks; the next start reads them.
    """
    join_stack(home)
    log_to_stderr(level=40)
    from app.state_folder import workers
    from app.state_places import Choice, choose_worker, look, places
    from app.worker_settings import WorkerSettings
    from redpanda.errors import ConfigError, UnreachableError
    from redpanda.settings import BrokerSettings

    settings = WorkerSettings()
    names = [choose_worker(settings.home, worker)] if worker else workers(settings.home)
    if not names:
        choose_worker(settings.home, None)
    if pair is not None:
        from app.state_pair import describe_pair
        from tables.candles import CandleRules

        found = describe_pair(settings.home, worker, pair, CandleRules())
        say(json.dumps(found, indent=2))
        return
    rows = [one for name in names for one in look(settings.home, name, Choice(_known(table), partition))]
    try:
        places(BrokerSettings(), rows)
    except (ConfigError, UnreachableError) as error:
        typer.echo(f"note: the changelogs are left out: {error}", err=True)
    _show(rows, as_json=as_json)


@cli.command()
@examples(
    "tickcast state rebuild",
    "tickcast state rebuild --worker tickcast-worker-0 --table candle-state --partition 2",
)
def rebuild(worker: Worker = None, table: Table = None, partition: Partition = None, home: Home = None) -> None:
    """Wipe a stopped worker's tables and fill them from their changelogs.

    A worker does that by itself where a folder is missing or damaged; here you see it happen, and what is wrong when
    it does not. Rows that the changelogs have lost come back with `tickcast rebuild`.
    """
    join_stack(home)
    override(worker_name=worker)  # a folder that is not there yet needs a name that a worker may have
    log_to_stderr(level=30)
    from app.state_fill import fill
    from app.state_folder import workers
    from app.state_places import Choice, choose_worker
    from app.worker_settings import WorkerSettings
    from redpanda.settings import BrokerSettings

    settings = WorkerSettings()
    name = choose_worker(settings.home, worker) if workers(settings.home) else settings.worker_name
    choice, broker = Choice(_known(table), partition), BrokerSettings()
    with progress() as tell:
        rows = fill(settings.home, name, choice, broker, tell)
    _show(rows, as_json=False)


@cli.command()
@examples(
    "tickcast state reset",
    "tickcast state reset --worker tickcast-worker-0 --partition 2 --yes",
)
def reset(
    worker: Worker = None,
    table: Table = None,
    partition: Partition = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where a changelog has lost rows, or no broker answers.")
    ] = False,
    home: Home = None,
) -> None:
    """Delete a stopped worker's tables; its next start fills them from the changelogs."""
    join_stack(home)
    log_to_stderr(level=30)
    from app.state_fill import reset as delete
    from app.state_places import Choice, choose_worker
    from app.worker_settings import WorkerSettings
    from redpanda.settings import BrokerSettings

    settings = WorkerSettings()
    name = choose_worker(settings.home, worker)
    broker = None if force else BrokerSettings()

    def agree(rows: list[Standing]) -> bool:
        for one in rows:
            say(f"{one.table} {one.partition}: {'damaged' if one.damage else f'{one.keys:,} rows'}")
        return yes or _asked(f"Delete these {len(rows)} folders of worker {name}?")

    rows = delete(settings.home, name, Choice(_known(table), partition), broker, agree)
    say(f"deleted {len(rows)} folders of worker {name} with {sum(one.keys for one in rows):,} rows")


def _asked(question: str) -> bool:
    from redpanda.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError("nothing was deleted: without a terminal to ask at, add --yes")
    return typer.confirm(question)


def _known(table: str | None) -> str | None:
    from app.state_places import SOURCES
    from redpanda.errors import ConfigError

    if table is not None and table not in SOURCES:
        raise ConfigError(f"--table {table} is none of {', '.join(SOURCES)}")
    return table


def _show(rows: list[Standing], *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console
    from rich.table import Table as Grid

    if not rows and not as_json:
        say("no tables are kept there: the worker has not recovered yet, or they were deleted")
        return
    if as_json:
        say(json.dumps([msgspec.to_builtins(one) | {"behind": one.behind} for one in rows], indent=2))
        return
    grid = Grid(box=None, pad_edge=False)
    for name in ("worker", "table", "part", "keys", "bytes", "reached", "changelog", "behind"):
        grid.add_column(name, justify="left" if name in ("worker", "table") else "right", no_wrap=True)
    for one in rows:
        log = "-" if one.end is None else f"{one.first}..{one.end}"
        behind = "-" if one.behind is None else f"{one.behind:,}"
        kept = ["damaged", "", ""] if one.damage else [f"{one.keys:,}", f"{one.bytes:,}", _text(one.reached)]
        grid.add_row(one.worker, one.table, str(one.partition), *kept, log, behind)
    Console(width=None if sys.stdout.isatty() else 120).print(grid)
    for one in rows:
        if one.damage:
            say(f"{one.worker} {one.table} {one.partition}: {one.damage}. The next start fills it again.")


def _text(value: int | None) -> str:
    return "-" if value is None else str(value)
