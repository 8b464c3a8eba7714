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
        tell("reading", 0, 3)
        columns = _columns(file, pair, days)
        tell("reading", 1, 3)
        from ml.checks.quality import look

        tell("looking at rows", 0, 2)
        whole = look(columns)
        tell("looking at rows", 1, 2)
        each = {one: look(_only(columns, one)) for one in _pairs(columns)} if whole.pairs > 1 else {}
    from app.cli import proof_tables

    shown = each or {_pairs(columns)[0]: whole}
    if as_json:
        say(json.dumps(proof_tables.data_json(whole, shown), indent=2))
    else:
        say(proof_tables.data_text(whole, shown, features="bars" in columns).rstrip())
    if whole.broken:
        raise typer.Exit(1)


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
