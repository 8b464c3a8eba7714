"""A supervisor of child processes that leaves nothing behind, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Literal

import psutil

from app import guard
from app.memory import Memory
from redpanda.errors import TickcastError
from redpanda.local.tether import tethered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["STOP_SIGNALS", "Child", "ChildFailedError", "Spec", "Supervisor"]

State = Literal["running", "waiting", "ended", "stopped"]
LOG_CAP_BYTES = 20_000_000
SETTLED_S = 20.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OPERATOR_LINES = ("error: ", "tickcast: ")


class ChildFailedError(TickcastError):
    """A child ended for good without being asked to. `tail` holds its last log lines."""

    def __init__(self, text: str, tail: list[str]) -> None:
        super().__init__(text)
        self.tail = tail


@dataclass(frozen=True)
class Spec:
    """How to run one child."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    may_end: bool = False
    """Exit code 0 means that its work is done, not that it crashed."""
    grace_s: float = 10.0
    """Time to stop after SIGTERM, before SIGKILL."""
    log: str = ""
    """Name of its log file, where `<name>.log` is somebody else's."""


@dataclass
class Child:
    """One child as the supervisor knows it."""

    spec: Spec
    log: Path
    process: subprocess.Popen[bytes]
    state: State = "running"
    settled: bool = False
    """It has worked: an error that it ends with is a crash and not a wrong setting."""
    crashes: int = 0
    started_s: float = field(default_factory=time.monotonic)
    restart_at_s: float = 0.0
    exit_code: int | None = None
    said_from: int = 0
    """Where in its log this run begins (byte): what an earlier run said is no news."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def tail(self, lines: int = 15) -> list[str]:
        """Give the last lines of its log."""
        with self.log.open("rb") as file:
            file.seek(max(self.said_from, self.log.stat().st_size - 8_192))
            return file.read().decode(errors="replace").splitlines()[-lines:]


class Supervisor:
    """Starts children, starts crashed ones again, counts their memory and stops them in order."""

    def __init__(self, logs: Path, *, restarts: int = 3, backoff_s: float = 1.0, grace_s: float = 10.0) -> None:
        self.children: dict[str, Child] = {}
        self.memory = Memory()
        self._logs = logs
        self._restarts = restarts
        self._backoff_s = backoff_s
        logs.mkdir(parents=True, exist_ok=True)
        self._guard = subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, "-E", "-S", guard.__file__, str(grace_s)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def start(self, spec: Spec) -> Child:
        """Start a child in its own process group, its output going to `logs/<name>.log`."""
        log = self._logs / (spec.log or f"{spec.name}.log")
        if log.exists() and log.stat().st_size > LOG_CAP_BYTES:
            log.replace(log.with_suffix(".log.1"))
        said_from = log.stat().st_size if log.exists() else 0
        child = Child(spec, log, self._spawn(spec, log), said_from=said_from)
        self.children[spec.name] = child
        return child

    def tick(self) -> None:
        """Look after every child once; call it a few times a second.

        Raises
        ------
        ChildFailedError
            A child crashed more often than it may, or left at its start saying what an operator has to mend.
        """
        for child in self.children.values():
            if child.state == "running" and (code := child.process.poll()) is not None:
                self._ended(child, code)
            elif child.state == "waiting" and time.monotonic() >= child.restart_at_s:
                child.said_from = child.log.stat().st_size
                child.process = self._spawn(child.spec, child.log)
                child.state = "running"
            elif time.monotonic() - child.started_s > SETTLED_S:
                child.settled = True
        self.memory.sample({c.spec.name: c.pid for c in self.children.values() if c.state == "running"})

    def stop(self, *names: str, wait: Callable[[], None] | None = None) -> None:
        """Stop the named children side by side: SIGTERM, grace, SIGKILL. Unknown names are passed over."""
        named = [self.children[name] for name in names if name in self.children]
        for child in named:
            if child.state == "waiting":
                child.state = "stopped"
        # Only what runs: the number of an ended process may be somebody else's by now.
        chosen = [child for child in named if child.state == "running"]
        # Whatever they started, in whichever process group or session: the broker's JVM has one of its own.
        below = [process for child in chosen for process in _below(child.pid)]
        for child in chosen:
            child.state = "stopped"
            if child.process.poll() is None:
                _signal_group(child.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + max((c.spec.grace_s for c in chosen), default=0.0)
        while time.monotonic() < deadline_s and (any(c.process.poll() is None for c in chosen) or below):
            below = psutil.wait_procs(below, timeout=0.0)[1]
            time.sleep(0.05)
            if wait:
                wait()
        for child in chosen:
            _signal_group(child.pid, signal.SIGKILL)
            child.exit_code = child.process.wait()
            self._tell_guard("-", child.pid)
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def close(self, order: Sequence[Sequence[str]] = (), wait: Callable[[], None] | None = None) -> None:
        """Stop the children in `order`, then all others, then the guard; `wait` is called meanwhile.

        A Ctrl-C that comes now asks for what is already being done, and would break it off.
        """
        with _deaf():
            for names in (*order, tuple(self.children)):
                self.stop(*names, wait=wait)
            with suppress(BrokenPipeError):
                _pipe(self._guard).close()
            self._guard.wait(timeout=60)

    def _spawn(self, spec: Spec, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603  # the stack's own programs
                tethered(list(spec.argv)),
                env={**os.environ, **spec.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._tell_guard("+", process.pid)
        return process

    def _ended(self, child: Child, code: int) -> None:
        _signal_group(child.pid, signal.SIGKILL)
        self._tell_guard("-", child.pid)
        child.exit_code = code
        if child.spec.may_end and code == 0:
            child.state = "ended"
            return
        child.state = "stopped"
        tail = child.tail()
        if not child.settled and tail and tail[-1].startswith(OPERATOR_LINES):
            raise ChildFailedError(f"{child.spec.name}: {tail[-1].partition(': ')[2]}", [])
        if child.crashes >= self._restarts:
            text = (
                f"{child.spec.name} ended {child.crashes + 1} times (last exit code {code}). "
                f"Its log: {child.log}; then start again."
            )
            raise ChildFailedError(text, tail)
        child.restart_at_s = time.monotonic() + self._backoff_s * 2**child.crashes
        child.crashes += 1
        child.state = "waiting"

    def _tell_guard(self, sign: str, group: int) -> None:
        pipe = _pipe(self._guard)
        with suppress(BrokenPipeError):  # somebody killed the guard: the kernel's PDEATHSIG is still there
            pipe.write(f"{sign}{group}\n")
            pipe.flush()


def _pipe(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdin is None:
        raise RuntimeError("the guard was started without a pipe")
    return process.stdin


@contextmanager
def _deaf() -> Iterator[None]:
    """Let no signal in that asks to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
