"""The folder of one worker's tables: who holds it, and where the tables lie in it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from redpanda.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["folder_of", "hold", "holder", "tables_of", "workers"]

_LOCK = "worker.lock"


def folder_of(home: Path, worker_name: str) -> Path:
    """Give the folder of a worker, absolute; Faust calls it the datadir."""
    return (home / "worker" / worker_name).resolve()


def tables_of(folder: Path) -> Path:
    """Give the folder below it where Faust keeps the tables."""
    return folder / "v1" / "tables"


def workers(home: Path) -> list[str]:
    """Name the workers that have a folder."""
    return sorted(path.name for path in (home / "worker").glob("*") if path.is_dir())


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep every other worker, and `tickcast state`, off the folder while the block runs.

    Raises
    ------
    ConfigError
        A worker has it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+")
    except OSError as error:
        raise ConfigError(
            f"{folder} is not writable ({error.strerror}): set TICKCAST_HOME to another folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"a worker runs on {folder} (process {holder(folder)}): stop it, or set TICKCAST_WORKER_NAME to "
                "another name"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(folder: Path) -> int | None:
    """Give the process whose worker has the folder, None where none has."""
    try:
        with (folder / _LOCK).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0)
    except FileNotFoundError:
        pass
    return None
