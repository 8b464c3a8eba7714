"""The `tickcast` command. The parts are imported inside the commands: help stays instant."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from app.cli import (
    backtests,
    checks,
    feature_reads,
    keys,
    models,
    proofs,
    rebuilds,
    risingwave,
    services,
    stacks,
    states,
    stores,
    topics,
)
from app.cli.common import set_verbose, verbose
from app.cli.errors import EXIT_INTERRUPTED, report

__all__ = ["cli", "main"]

cli = typer.Typer(
    name="tickcast",
    help="Live crypto trades in, calibrated price forecasts out.\n\nStart with: tickcast demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cli.callback()
def _options(
    *,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Log more, and show tracebacks.", is_eager=True)
    ] = False,
) -> None:
    set_verbose(verbose)


stacks.add_to(cli)
services.add_to(cli)
cli.add_typer(topics.cli, name="topics")
cli.add_typer(stores.cli, name="store")
cli.add_typer(states.cli, name="state")
cli.add_typer(risingwave.cli, name="risingwave")
cli.add_typer(feature_reads.cli, name="features")
cli.add_typer(models.cli, name="models")
cli.add_typer(keys.cli, name="keys")
cli.add_typer(proofs.cli, name="check")
rebuilds.add_to(cli)
backtests.add_to(cli)
checks.add_to(cli)


def main() -> NoReturn:
    """Run the command line; every error is one line on stderr, with a traceback only under -v."""
    try:
        cli(prog_name="tickcast")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001  # the outermost edge: whatever it is, it becomes one line
        sys.exit(report(error, verbose()))
    sys.exit(0)
