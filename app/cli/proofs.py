"""`tickcast check`: what a history is worth, and proofs over it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, override, say
from app.cli.progress import progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ml.candle_file import History

__all__ = ["cli"]

cli = typer.Typer(help="Check data and features: data, lookahead, warmup.", no_args_is_help=True, rich_markup_mode=None)
File = Annotated[
    Path | None,
    typer.Argument(help="Parquet of 1m candles: timestamp, open, high, low, close, volume. Default: the store."),
]
OnePair = Annotated[
    list[str] | None, typer.Option("--pair", help="Only this pair; may be given again. Default: all.", metavar="PAIR")
]
Days = Annotated[
    float | None,
    typer.Option("--days", help="Newest days to read from the store (TICKCAST_TRAIN_HISTORY_DAYS).", min=0.01),
]
Recording = Annotated[
    Path | None, typer.Argument(help="Parquet of 1m candles: timestamp, open, high, low, close, volume.")
]
FromStore = Annotated[bool, typer.Option("--store", help="Take the candles of the store instead of a file.")]
Rows = Annotated[int, typer.Option("--rows", help="Newest candles of each pair that are used (count).", min=100)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@cli.command()
@examples(
    "tickcast check data",
    "tickcast check data --pair BTC/USD --days 7 --json",
    "tickcast check data candles.parquet",
)
def data(
    file: File = None, pair: OnePair = None, days: Days = None, as_json: AsJson = False, home: Home = None
) -> None:
    """Look at 1m candles as the trainer reads them, and hold them against the data contract.

    Tells gaps, duplicates, values that are no numbers, prices out of order, jumps and the share of minutes in which
    nothing traded. Gaps cost labels only. Exit code 1 where the contract is broken: then no model is promoted.
    """
    join_stack(home)
    log_to_stderr(level=30)
    with progress() as tell:
        tell("reading", 0, 1)
        columns = _columns(file, pair, days)
        tell("reading", 1, 1)
        from ml.checks.quality import look

        tell("looking at rows", 0, 1)
        whole = look(columns)
        tell("looking at rows", 1, 1)
        each = {one: look(_only(columns, one)) for one in _pairs(columns)} if whole.pairs > 1 else {}
    from app.cli import proof_tables

    shown = each or {_pairs(columns)[0]: whole}
    if as_json:
        say(json.dumps(proof_tables.data_json(whole, shown), indent=2))
    else:
        say(proof_tables.data_text(whole, shown, features="bars" in columns).rstrip())
    if whole.broken:
        raise typer.Exit(1)


@cli.command()
@examples(
    "tickcast check lookahead candles.parquet",
    "tickcast check lookahead candles.parquet --rows 500000 --cuts 12",
    "tickcast check lookahead --store --pair BTC/USD",
)
def lookahead(
    file: Recording = None,
    from_store: FromStore = False,
    pair: OnePair = None,
    rows: Rows = 50_000,
    cuts: Annotated[int, typer.Option("--cuts", help="Places at which the future is changed (count).", min=1)] = 6,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Prove that no feature, model input, label or split reads the future.

    At places drawn, the history is cut and, once more, goes on as another market. All rows up to there must stay the
    same bit by bit, in the worker's fold and in the trainer's bulk path. Exit code 1 where one does not.
    """
    histories = _histories(file, from_store, pair, rows, home)
    from app.cli import proof_tables
    from ml.checks.lookahead import prove
    from ml.settings import MlSettings

    horizons_s = MlSettings().horizons_s
    with progress() as tell:
        found = {one.pair: prove(one.columns, horizons_s, tell, cuts) for one in histories}
    say(json.dumps(proof_tables.as_json(found), indent=2) if as_json else proof_tables.lookahead_text(found))
    if any(one.leaks for one in found.values()):
        raise typer.Exit(1)


@cli.command()
@examples(
    "tickcast check warmup candles.parquet",
    "tickcast check warmup candles.parquet --stops 500",
    "tickcast check warmup --store --pair BTC/USD --json",
)
def warmup(
    file: Recording = None,
    from_store: FromStore = False,
    pair: OnePair = None,
    rows: Rows = 50_000,
    stops: Annotated[int, typer.Option("--stops", help="Restarts, at places drawn (count).", min=1)] = 50,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Prove that restarts change no feature, and tell how much a start with nothing does.

    Restarts go on from the packed row of the table, as a worker's do: exit code 1 where any bit differs. Cold starts
    are told, not judged: averages with a long memory depend on all that came before.
    """
    histories = _histories(file, from_store, pair, rows, home)
    from app.cli import proof_tables
    from ml.checks.warmup import prove

    with progress() as tell:
        found = {one.pair: prove(one.columns, tell, stops) for one in histories}
    say(json.dumps(proof_tables.as_json(found), indent=2) if as_json else proof_tables.warmup_text(found))
    if any(one.restarts.different for one in found.values()):
        raise typer.Exit(1)


def _histories(
    file: Path | None, from_store: bool, pair: list[str] | None, rows: int, home: Path | None
) -> list[History]:
    """Read a file as the backtest does, or the store: sound rows in order, silent minutes filled; the newest rows."""
    join_stack(home)
    log_to_stderr(level=30)
    from msgspec.structs import replace

    from ml.candle_file import histories_of, read_columns
    from ml.checks.history import newest
    from redpanda.errors import BadInputError

    if (file is None) != from_store:
        raise BadInputError("give a Parquet file of 1m candles, or --store")
    if file is not None:
        columns = read_columns(file)
        found = [one for name in pair or [""] for one in histories_of(columns, name, str(file))]
    else:
        found = histories_of(_columns(None, pair, None), "", "the store")
    for one in found:
        if lost := one.found.broken + one.found.repeated:
            typer.echo(f"note: {lost:,} rows of {one.pair} are left out: see `tickcast check data`", err=True)
        if one.found.unsorted:
            typer.echo(f"note: rows of {one.pair} were put in order: see `tickcast check data`", err=True)
    return [replace(one, columns=newest(one.columns, rows)) for one in found]


def _columns(file: Path | None, pair: list[str] | None, days: float | None) -> dict[str, npt.NDArray[Any]]:
    """Read a file as it is, or the store as the trainer does."""
    from redpanda.errors import BadInputError

    if file is not None:
        from ml.checks.recording import read_recording

        return read_recording(file, tuple(pair or ()))
    from ml.settings import TrainerSettings
    from ml.source import StoreSource
    from tables.clickhouse.settings import StoreSettings

    override(pairs=",".join(pair) if pair else None, train_history_days=days)
    settings = TrainerSettings()
    columns = StoreSource(settings, StoreSettings()).columns()
    if not len(columns["pair"]):
        raise BadInputError(
            f"the store holds no 1m features of {', '.join(settings.pairs)}: let a worker run, name other pairs with "
            "--pair, or give a Parquet file"
        )
    return columns


def _pairs(columns: dict[str, npt.NDArray[Any]]) -> list[str]:
    import numpy as np

    return [str(one) for one in np.unique(columns["pair"])]


def _only(columns: dict[str, npt.NDArray[Any]], pair: str) -> dict[str, npt.NDArray[Any]]:
    rows: npt.NDArray[np.bool_] = columns["pair"] == pair
    return {name: column[rows] for name, column in columns.items()}
