"""Composition root: settings, Faust app factory, command line, local stack."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Give `app.app` to `faust -A app worker`, and build it only then."""
    if name == "app":
        from app.stream import the_app  # the command line must start fast

        return the_app()
    raise AttributeError(name)
