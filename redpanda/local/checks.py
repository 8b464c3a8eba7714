"""What must hold before a broker can start: ports, disk, Java. A failure is one line with the next step."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import psutil

from redpanda.errors import ConfigError, MissingToolError

__all__ = ["JAVA_MIN", "find_java", "free_port", "lock_folder", "require_disk", "require_port"]

HOST: Final = "127.0.0.1"
_PORTS: Final = range(20_000, 32_000)
JAVA_MIN: Final = 17
"""Kafka 4 brokers need it."""

_ELSEWHERE: Final = "or point TICKCAST_BROKER_URL to a running broker"
_INSTALL_JAVA: Final = (
    f"install Java {JAVA_MIN} (for example `apt install openjdk-17-jre-headless`), start Docker, {_ELSEWHERE}"
)


_given: Final[set[int]] = set()
"""What this process has drawn: a port that was given and not bound yet looks free."""


def free_port(but: int | None = None) -> int:
    """Give a loopback port that nobody uses, from below the range that outgoing connections take; each once.

    A port of that range may become some connection's own end before the broker binds it, even the one
    of a client that polls for the broker. `but` is a port that is spoken for and not bound yet.
    """
    for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
        if port == but or port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise ConfigError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free on {HOST}: stop what listens there")


def require_port(port: int, setting: str = "TICKCAST_BROKER_URL", prefix: str = f"{HOST}:") -> None:
    """Raise ConfigError, naming `setting` and a value that would do, where the loopback port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the JVM does: TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"port {port} of {setting} cannot be used: {error}") from error
            raise ConfigError(
                f"port {port} of {setting} is in use{_holder(port)}: stop that process, or set "
                f"{setting}={prefix}{free_port()}"
            ) from error


def _holder(port: int) -> str:
    """Name the process that listens on the port, where the system tells."""
    try:
        for row in psutil.net_connections(kind="tcp"):
            if row.laddr and row.laddr.port == port and row.status == psutil.CONN_LISTEN and row.pid:
                return f" by process {row.pid} ({psutil.Process(row.pid).name()})"
    except psutil.Error:
        pass
    return ""


def require_disk(folder: Path, need_mb: int, setting: str) -> None:
    """Create the folder and raise ConfigError where it cannot be written or its disk is nearly full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot create {folder}: {error.strerror}; set {setting} to another folder") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder} is not writable for this user; set {setting} to another folder")
    free_mb = shutil.disk_usage(folder).free >> 20
    if free_mb < need_mb:
        raise ConfigError(
            f"disk full: {folder} has {free_mb} MB left and needs {need_mb}; free some, "
            f"or set {setting} to a folder on another disk"
        )


def lock_folder(folder: Path, wait_s: float) -> int:
    """Take the folder for one broker and give the lock's file descriptor, to be inherited by it.

    The lock goes when the last process that holds the descriptor ends. Kafka's own lock comes too late:
    a second broker writes to the first one's metadata log before it looks. `wait_s` is for a broker
    whose parent was killed and that is still closing its files.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            os.close(lock)
            raise ConfigError(
                f"another broker runs on {folder}: stop that `tickcast demo`, or set TICKCAST_HOME to another folder"
            ) from error
        return lock


def find_java() -> str:
    """Give the path of a Java that can run the broker; JAVA_HOME goes before PATH."""
    named = os.environ.get("JAVA_HOME")
    java = shutil.which(str(Path(named) / "bin" / "java")) if named else None
    java = java or shutil.which("java")
    if java is None:
        raise MissingToolError(f"the local broker needs Java and there is none: {_INSTALL_JAVA}")
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603  # found above
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingToolError(f"{java} does not run ({error}): {_INSTALL_JAVA}") from error
    match = re.search(r'version "(\d+)', told.stderr + told.stdout)
    if match is None:
        raise MissingToolError(f"{java} does not tell its version: {_INSTALL_JAVA}")
    if int(match[1]) < JAVA_MIN:
        raise MissingToolError(f"{java} is Java {match[1]}, the local broker needs {JAVA_MIN}: {_INSTALL_JAVA}")
    return java
