"""What a running process tells about itself: one small JSON file, replaced whole, read by the board and `doctor`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

__all__ = ["Progress", "Status", "read_status", "write_status"]


class Progress(msgspec.Struct, frozen=True):
    """A job with a known end."""

    label: str
    done: int
    total: int


class Status(msgspec.Struct):
    """One process at one moment."""

    name: str
    """`ingest`, `worker`, `trainer`, `api`, `store`, `broker`, `sim`."""
    state: str
    """One word: `starting`, `backfill`, `live`, `training`, `idle`, `stopping`, `failed`."""
    pid: int = 0
    at_ms: int = 0
    progress: Progress | None = None
    counters: dict[str, int] = {}
    detail: dict[str, object] = {}
    """Free-form, JSON types only."""


def write_status(home: Path, status: Status) -> None:
    """Replace `home/status/<name>.json`; readers never see half a file."""
    status.pid = os.getpid()
    status.at_ms = time.time_ns() // 1_000_000
    folder = home / "status"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{status.name}.{status.pid}.tmp"
    temporary.write_bytes(msgspec.json.encode(status))
    temporary.replace(folder / f"{status.name}.json")


def read_status(home: Path, name: str) -> Status | None:
    """Read what `name` wrote last; None where there is nothing readable yet."""
    try:
        return msgspec.json.decode((home / "status" / f"{name}.json").read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
