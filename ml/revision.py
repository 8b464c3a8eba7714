"""Which code this is: the commit of a checkout, else the version of the package."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

__all__ = ["code_revision"]


@cache
def code_revision() -> str:
    """Give the commit (12 digits, `+` where files differ from it), else `v<version>`."""
    root = Path(__file__).parents[1]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        try:
            done = subprocess.run(  # noqa: S603  # a fixed command
                command, capture_output=True, text=True, timeout=5, check=True
            )
            return done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass  # no git on this machine: the package's version tells enough
    try:
        return f"v{metadata.version('tickcast')}"
    except metadata.PackageNotFoundError:
        return "unknown"
