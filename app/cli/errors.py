"""One line for every error that a person can meet: what is wrong, which setting, what to do next."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

from redpanda.errors import TickcastError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_settings import BaseSettings

__all__ = ["EXIT_INTERRUPTED", "EXIT_OPERATOR", "EXIT_UNEXPECTED", "explain", "report"]

EXIT_UNEXPECTED = 1
EXIT_OPERATOR = 2
EXIT_INTERRUPTED = 130


def report(error: BaseException, verbose: bool) -> int:
    """Print `error` for the operator and give the exit code that belongs to it."""
    if verbose:
        traceback.print_exception(error)
    text, code = explain(error)
    sys.stderr.write(f"error: {text}\n")
    return code


def explain(error: BaseException) -> tuple[str, int]:
    """One line and an exit code for an error."""
    if isinstance(error, TickcastError):
        return one_line(str(error)), EXIT_OPERATOR
    # pydantic is loaded whenever one of its errors exists; `tickcast --help` must not pay for it.
    if (pydantic := sys.modules.get("pydantic")) and isinstance(error, pydantic.ValidationError):
        return _bad_setting(error), EXIT_OPERATOR
    if isinstance(error, ModuleNotFoundError):
        text = f"the Python package {error.name} is missing: run `make`, or install tickcast[ml,local]"
        return text, EXIT_OPERATOR
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.strerror}: {error.filename}. Mend the file or its rights; -v shows where it was met."
        return one_line(text), EXIT_OPERATOR
    return one_line(f"{type(error).__name__}: {error} (unexpected; -v shows where)"), EXIT_UNEXPECTED


def one_line(text: str) -> str:
    return " ".join(text.split())


def _bad_setting(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    cls = _settings_class(error.title)
    variable = field
    if not field.startswith("TICKCAST_"):
        prefix = cls.model_config.get("env_prefix", "") if cls else "TICKCAST_"
        variable = f"{prefix}{field.upper()}"
    value = os.environ.get(variable, first["input"] if field else "")
    allowed = first["msg"].removeprefix("Value error, ")
    text = f"{variable}={str(value)[:200]!r} is not allowed: {allowed}"
    if not field:
        text = f"a setting is wrong: {allowed}"
    if cls and (known := cls.model_fields.get(field)):
        default = "" if known.is_required() else f" Default: {known.get_default(call_default_factory=True)!s}."
        text += f". {known.description or ''}{default}".rstrip(".")
    more = error.error_count() - 1
    return one_line(text + (f" (and {more} more)" if more else "") + ".")


def _settings_class(name: str) -> type[BaseSettings] | None:
    from pydantic_settings import BaseSettings as Base

    waiting = list(Base.__subclasses__())
    while waiting:
        cls = waiting.pop()
        if cls.__name__ == name:
            return cls
        waiting += cls.__subclasses__()
    return None
