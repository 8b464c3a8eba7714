"""What all commands share: verbosity, logging, and options that override settings."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Home", "Pairs", "examples", "join_stack", "log_to_stderr", "override", "say", "set_verbose", "verbose"]

Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of the local stack (TICKCAST_HOME, default .tickcast).")
]
Pairs = Annotated[
    str | None,
    typer.Option("--pairs", help="Pairs separated by commas, like BTC/USD,ETH/USD (TICKCAST_PAIRS)."),
]

Command = TypeVar("Command", bound="Callable[..., None]")

_state = {"verbose": False}


def examples(*lines: str) -> Callable[[Command], Command]:
    """Put examples under a command's help."""

    def add(command: Command) -> Command:
        # Typer reads \\b as: leave the lines of this paragraph as they are.
        shown = "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{shown}"
        return command

    return add


def set_verbose(value: bool) -> None:
    _state["verbose"] = value


def verbose() -> bool:
    return _state["verbose"]


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log plainly to stderr; under the supervisor that is the process's own file."""
    logging.basicConfig(
        level=logging.DEBUG if verbose() else level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if verbose():
        return
    # These tell every reconnect and every page; a failure reaches the operator through our own lines.
    for chatty in ("kafka", "aiokafka", "asyncio", "urllib3", "alembic", "mlflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def override(**settings: object) -> None:
    """Let an option win over the environment; it passes the same checks as the variable it stands for."""
    for name, value in settings.items():
        if value is not None:
            os.environ[f"TICKCAST_{name.upper()}"] = str(value)


def join_stack(home: Path | None) -> None:
    """Read the settings of the stack that runs on the folder; the environment still wins."""
    override(home=home)
    from app import home as homes
    from app.settings import AppSettings

    homes.join(AppSettings().home.absolute())


def say(text: str) -> None:
    """Print for the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
