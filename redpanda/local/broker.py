"""Start, watch and stop one broker on this machine."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from redpanda.clients import connect
from redpanda.errors import ConfigError, MissingToolError, TickcastError, UnreachableError
from redpanda.local import container, jars, kafka
from redpanda.local.checks import HOST, find_java, lock_folder, require_disk, require_port
from redpanda.local.tether import tethered
from redpanda.settings import BrokerSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

__all__ = ["LocalBroker"]

logger = logging.getLogger("tickcast.broker")

_NEED_MB: Final = 512
_POLL_S: Final = 0.05
_STOP_S: Final = 10.0
"""A broker that is asked to end may write as long; then it is killed."""
_LOCK_WAIT_S: Final = _STOP_S + 5.0
"""A start waits for the end of one whose parent was killed, and nobody kills that one."""

_KNOWN_ENDS: Final = (
    ("No space left on device", "disk full under {data}: free some, or set TICKCAST_HOME to another disk"),
    ("Address already in use", "port {port} of TICKCAST_BROKER_URL was taken meanwhile: try again"),
    ("Could not reserve enough space", "not enough memory for the broker (384 MB heap): free some"),
    ("OutOfMemoryError", "the broker ran out of its 384 MB heap: start it again"),
)
"""What the log says, and what it means for the operator."""


class LocalBroker:
    """One broker on a loopback port, with its data in a folder; a second start continues there.

    Apache Kafka where Java is there, else Redpanda's image where a Docker engine answers. It ends with
    this process, however that ends.

    Parameters
    ----------
    home
        TICKCAST_HOME: data goes to `broker/`, logs to `logs/broker.log` and `logs/broker.out`.
    port
        Loopback port of the Kafka API.
    say
        Is told what takes its time at the first start, one line each.
    """

    def __init__(self, home: Path, port: int, say: Callable[[str], None] = lambda _: None) -> None:
        self.home = home.absolute()
        self.port = port
        self.url = f"{HOST}:{port}"
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        # Not the thread's join: one that a signal handler breaks marks a live thread as ended (seen on 3.11).
        self._ended = threading.Event()
        self._ended.set()
        self._clean_up: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int | None:
        """Process id while the broker runs (of the Docker client where that runs it)."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether the process is alive; it may not answer yet."""
        return not self._ended.is_set()

    def start(self) -> None:
        """Start the process; a running one is left alone.

        Raises
        ------
        ConfigError
            Busy port, unwritable folder, full disk.
        MissingToolError
            Neither Java (with Maven at first use) nor a Docker engine.
        UnreachableError
            The jars could not be fetched.
        """
        if self.running:
            return
        require_disk(self.home / "broker", _NEED_MB, "TICKCAST_HOME")
        require_disk(self.home / "logs", _NEED_MB, "TICKCAST_HOME")
        lock = lock_folder(self._data, _LOCK_WAIT_S)
        try:
            require_port(self.port)
            self._spawn(self._prepared(), lock)
        finally:
            os.close(lock)  # the broker holds it from here on
        logger.info("broker %s started, process %s, data in %s", self.url, self.pid, self._data)

    @property
    def _data(self) -> Path:
        return self.home / "broker"

    def _prepared(self) -> list[str]:
        """Make ready whatever can run a broker here and give its command line."""
        try:
            java = find_java()
            jars_folder = jars.resolve(self._say)
        except MissingToolError:
            docker = container.engine()
            if docker is None:
                raise
            self._clean_up = partial(container.remove, docker, self.port)
            self._clean_up()
            return container.command(docker, self._data, self.port)
        kafka.prepare(java, jars_folder, self._data, self.port)
        return kafka.command(java, jars_folder, self.home / "logs" / "broker.log")

    def _spawn(self, command: list[str], lock: int) -> None:
        """Run the command from a thread that lives as long as it: the tether hangs on the thread."""
        failed: list[OSError] = []
        spawned = threading.Event()

        def keep() -> None:
            try:
                with (self.home / "logs" / "broker.out").open("wb") as out:
                    # Its own session: Ctrl-C reaches tickcast, which then stops its parts in order.
                    self._process = subprocess.Popen(  # noqa: S603  # built above
                        tethered(command),
                        cwd=self._data,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        start_new_session=True,
                        pass_fds=(lock,),
                    )
                spawned.set()
                self._process.wait()
            except OSError as error:
                failed.append(error)
            finally:
                self._ended.set()
                spawned.set()

        self._ended.clear()
        threading.Thread(target=keep, name=f"broker-{self.port}", daemon=True).start()
        spawned.wait()
        if failed:
            raise ConfigError(f"the local broker cannot be run: {failed[0]}") from failed[0]

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Return as soon as the broker answers a metadata request.

        Raises
        ------
        TickcastError
            It ended instead; the text says why, as far as its log tells.
        UnreachableError
            It still runs and did not answer in time.
        """
        settings = BrokerSettings(broker_url=self.url)
        deadline = time.monotonic() + timeout_s
        while self.running:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise UnreachableError(
                    f"the local broker did not answer on {self.url} in {timeout_s:g} s: "
                    f"see {self.home / 'logs' / 'broker.log'}"
                )
            try:
                connect(settings, timeout_s=remaining_s).close()
            except UnreachableError:
                self._ended.wait(_POLL_S)
            else:
                return
        raise TickcastError(self.why_ended())

    def wait_ended(self, timeout_s: float | None = None) -> bool:
        """Wait for the process to end by itself; tell whether it has."""
        return self._ended.wait(timeout_s)

    def why_ended(self) -> str:
        """Say in one line why the broker is not running."""
        logs = self.home / "logs"
        text = ""
        for name in ("broker.log", "broker.out"):
            if (logs / name).exists():
                text += (logs / name).read_text(errors="replace")[-200_000:]
        for sign, meaning in _KNOWN_ENDS:
            if sign in text:
                return "the local broker ended: " + meaning.format(data=self._data, port=self.port)
        last = (text.strip().splitlines() or ["it left no log"])[-1]
        return f"the local broker ended: {last[:300]}; see {logs / 'broker.log'}"

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Ask the broker to end, kill it after the timeout; a stopped one is left alone."""
        if self._process is None:
            return
        if self.running:
            self._process.terminate()
        if not self._ended.wait(timeout_s):
            logger.warning("broker %s did not end in %g s and is killed", self.url, timeout_s)
            self._process.kill()
            self._ended.wait()
        self._clean_up()

    def kill(self) -> None:
        """End the broker by SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._ended.wait()
            self._clean_up()

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
