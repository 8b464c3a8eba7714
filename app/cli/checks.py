"""`tickcast doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.common import Home, examples, log_to_stderr, override, say

__all__ = ["add_to"]


def add_to(cli: typer.Typer) -> None:
    cli.command()(doctor)


@examples(
    "tickcast doctor",
    "tickcast doctor --json",
)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    home: Home = None,
) -> None:
    """Check what tickcast needs and say how to mend it; exit code 1 when something needed is missing."""
    override(home=home)
    log_to_stderr(level=40)
    from app.doctor import as_text, examine, is_fit
    from app.settings import AppSettings

    findings = examine(AppSettings())
    say(as_text(findings, as_json=as_json))
    if not is_fit(findings):
        raise typer.Exit(1)
