"""One process at a time, by a lock file that dies with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LockHeldError", "boot_s", "file_lock"]


class LockHeldError(Exception):
    """Another process holds the lock; its text is that process's id."""


def boot_s() -> float:
    """Give the clock of leases (s): the same in every process of a machine, and it counts the machine's sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold an exclusive lock on a file.

    Raises
    ------
    LockHeldError
        Somebody else holds it and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            raise LockHeldError(file.read().strip() or "unknown") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
