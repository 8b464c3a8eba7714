"""Run a command that ends when its parent ends, even by SIGKILL. Run as a script, it becomes the command.

Linux sends the signal when the *thread* that started the child ends, so that thread has to stay
(`LocalBroker` keeps one). Elsewhere the command runs untethered. A wrapper and not a `preexec_fn`, which
is unsafe beside threads and warns from Python 3.12 on.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

__all__ = ["tethered"]

_PR_SET_PDEATHSIG = 1


def tethered(command: list[str]) -> list[str]:
    """Give the command line that runs `command` on this process's tether."""
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> None:
    """Ask for SIGTERM at the parent's end and become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the request was made
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  # the caller's own command, no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
