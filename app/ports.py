"""Which loopback ports a stack takes."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from redpanda.errors import ConfigError

__all__ = ["HOST", "Ports", "is_free", "is_open"]

HOST = "127.0.0.1"
TRIES = 50


class Ports:
    """The ports of one stack, kept from other stacks that start at the same moment.

    A port looks free until its process has bound it, and a broker that answers is not asked whose it is:
    so each choice is also a lock file of this user's. It goes with the process, however that ends.
    """

    def __init__(self) -> None:
        self._held = ExitStack()
        self._mine: set[int] = set()

    def close(self) -> None:
        """Let go of all of them."""
        self._held.close()
        self._mine.clear()

    def choose(self, variable: str, default: int) -> int:
        """Give `default` or the next free port; a port that `variable` names must be free itself."""
        if variable in os.environ:
            if not self.take(default):
                raise ConfigError(
                    f"{variable}: port {default} is busy: free it, set another, or unset it for the next free one"
                )
            return default
        for port in range(default, default + TRIES):
            if self.take(port):
                return port
        raise ConfigError(f"ports {default} to {default + TRIES - 1} are all busy: set {variable} to a free port")

    def take(self, port: int) -> bool:
        """Take this one; False where a process or another stack has it."""
        if port in self._mine or not is_free(port):
            return False
        folder = Path(tempfile.gettempdir()) / f"tickcast-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        with ExitStack() as opened:
            lock = opened.enter_context((folder / str(port)).open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._held.push(opened.pop_all())
        self._mine.add(port)
        return True


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_open(port: int, host: str = HOST) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0
