"""`tickcast backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import Home, examples, join_stack, log_to_stderr, say
from app.cli.progress import progress

if TYPE_CHECKING:
    from app.backtest_report import Ran

__all__ = ["add_to"]


def add_to(cli: typer.Typer) -> None:
    cli.command()(backtest)


@examples(
    "tickcast backtest candles.parquet --horizon 5 --report backtest.html",
    "tickcast backtest candles.parquet --horizon 1 --horizon 5 --horizon 15 --zoo --report backtest.json",
    "tickcast backtest --pair BTC/USD --report stored.html",
)
def backtest(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="1m candles as Parquet: columns timestamp, open, high, low, close, volume; trades, buy_volume, "
            "quote_volume, pair are used where they are there. Without a file: the candles of the store.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    horizon: Annotated[
        list[int] | None, typer.Option("--horizon", help="Minutes ahead; may be given again. Default: 5.", min=1)
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Where the figures go: JSON here, HTML beside it (or the other way round)."),
    ] = None,
    pair: Annotated[str, typer.Option("--pair", help="Only this pair of the file or store.")] = "",
    folds: Annotated[int, typer.Option("--folds", help="Trainings, each before a fold of equal time.", min=1)] = 6,
    test_share: Annotated[
        float, typer.Option("--test-share", help="Share of the time, the newest, that is tested on.", min=0.05, max=0.9)
    ] = 0.5,
    zoo: Annotated[bool, typer.Option("--zoo", help="Put every model of the zoo on the leaderboard (longer).")] = False,
    home: Home = None,
) -> None:
    """Replay candles through the live feature and predictor code, training again as time goes by.

    Prints the walk-forward table against the EWMA-volatility baseline: skill, coverage, folds.
    """
    join_stack(home)
    log_to_stderr(level=40)
    from app.backtest_report import run_backtest, write_report
    from ml.walkforward import Plan

    plan = Plan(folds=folds, test_share=test_share)
    with progress() as tell:
        ran = run_backtest(file, sorted(set(horizon or [5])), pair, plan, zoo=zoo, progress=tell)
    _show(ran)
    if report is not None:
        for path in write_report(ran, report):
            say(f"written to {path}")


def _show(ran: Ran) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None) if Console().is_terminal else Console(width=132)
    for board in ran.boards:
        table = Table(title=f"{board.horizon_s // 60} min ahead: {', '.join(board.pairs)}", title_justify="left")
        heads = (
            "model",
            "pinball bps",
            "skill %",
            "p",
            "folds",
            "in 50 %",
            "in 90 %",
            "folds",
            "MAE skill %",
            "direction",
        )
        for name in heads:
            table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
        for line in ran.lines(board):
            table.add_row(*line)
        console.print(table)
    for name, why in ran.missing.items():
        say(f"{name} is not in the table: {why}")
    for note in ran.told():
        say(note)
