"""The trainer: waits for candles, trains every horizon again and again, tells how it stands.

A refusal is the normal case: most challengers do not beat what serves, and then nothing changes.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

from ml import job
from ml.lease import SESSION_S, GroupLease, Lease, SoloLease
from ml.lock import LockHeldError, file_lock
from ml.registry import Registry
from ml.source import CandleSource, StoreSource
from ml.training import HorizonReport
from ml.verdicts import brief, summary, tell
from ml.wanted import Wanted
from redpanda.errors import BadInputError, TickcastError, UnreachableError
from tables.status import Progress, Status, write_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import SpawnProcess

    from ml.settings import TrainerSettings
    from redpanda.settings import BrokerSettings

__all__ = ["Trainer", "run"]

_STATUS_EVERY_S: Final = 1.0
_RETRY_S: Final = 30.0  # after a failure that a person has to look at
_KILL_AFTER_S: Final = 1.0
_LEAVE_S: Final = 30.0  # what a process of low priority may need to end after its last word
_LOOK_S: Final = 0.2
_ABANDONED: Final = "the lease of training is lost: what was begun is abandoned, and whoever has it next does it"
_log = logging.getLogger("tickcast.trainer")


def run(
    settings: TrainerSettings,
    store: Any,
    once: bool,
    broker: BrokerSettings | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[HorizonReport]:
    """Train until SIGTERM or SIGINT; with `once`, train now and return.

    Parameters
    ----------
    store
        `tables.clickhouse.settings.StoreSettings`.
    broker
        Where the lease and the requests are; None: the lock file of this machine decides alone.
    progress
        Called with what is being done, how far it is and how much there is.

    Returns
    -------
    The reports of the last training, one a horizon; empty when it was stopped before.

    Raises
    ------
    UnreachableError
        With `once`: store or registry did not answer. Without, this is a status, and it tries again.
    BadInputError
        With `once`: too few candles; every horizon has a champion all the same.
    """
    lease: Lease | None = None if broker is None else GroupLease(broker)
    return Trainer(settings, StoreSource(settings, store), lease, progress).run(once=once)


class _Stopped(Exception):  # noqa: N818  # not an error: the way out of any wait
    """SIGTERM or SIGINT came."""


class _LeaseLost(TickcastError):  # noqa: N818  # named as what happened
    """Another trainer has been given the lease."""

    retriable = True


class Trainer:
    """One run of a trainer process; the work itself is done in `ml.job`."""

    def __init__(
        self,
        settings: TrainerSettings,
        source: CandleSource,
        lease: Lease | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._lease: Lease = lease or SoloLease()
        self._progress = progress
        self._status = Status(name="trainer", state="starting", detail={"source": settings.source})
        self._reports: dict[int, HorizonReport] = {}
        self._verdicts: dict[str, str] = {}
        self._reason = ""
        self._asking = False
        self._wake, self._waker = socket.socketpair()

    def stop(self) -> None:
        """Make `run` return within seconds; from any thread or signal handler."""
        with suppress(OSError):  # it has returned already
            self._waker.send(b"\0")

    def run(self, *, once: bool) -> list[HorizonReport]:
        """See `ml.trainer.run`."""
        with self._signals():
            try:
                self._once() if once else self._forever()
            except _Stopped:
                self._say("stopping")
            except TickcastError as error:
                self._say("failed", error=str(error))
                raise
            finally:
                self._lease.close()
                self._wake.close()
                self._waker.close()
        return list(self._reports.values())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        stops = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._on_signal) for number in stops]
        try:
            yield
        finally:
            for number, handler in zip(stops, before, strict=True):
                signal.signal(number, handler)

    def _on_signal(self, *_: object) -> None:
        self.stop()
        if self._asking:  # a store that hangs must not hold the process; elsewhere the next wait ends it
            raise _Stopped

    def _counts(self) -> dict[str, int]:
        self._asking = True
        try:
            return self._source.counts()
        finally:
            self._asking = False

    def _once(self) -> None:
        # A training begins with champions itself: then one process less imports MLflow.
        try:
            counts = self._counts()
        except TickcastError:
            self._until_champions()  # what serves needs no data
            raise
        if not self._enough(counts):
            self._until_champions()
            raise BadInputError(
                f"too few 1m candles to train on: {counts or 'none'}, needed are "
                f"{self._settings.train_min_candles} a pair; let the worker run on, "
                "or lower TICKCAST_TRAIN_MIN_CANDLES"
            )
        wanted = self._until_leased()
        try:
            self._train(wanted)
        except LockHeldError as error:
            raise TickcastError(f"another training runs (pid {error}): wait for it, or stop it") from error
        self._say("idle")

    def _until_leased(self) -> Wanted:
        """Wait as long as a dead holder may keep the lease; go on without where no broker keeps one."""
        deadline_s = time.monotonic() + 2 * SESSION_S
        while (wanted := self._lease.wanted(0.0)) is None:
            if self._lease.away:
                _log.warning("%s; training under the lock file of this machine alone", self._lease.trouble)
                self._lease.close()
                self._lease = SoloLease()
                continue
            if time.monotonic() > deadline_s:
                raise TickcastError(
                    "another trainer holds the lease of training: let it do the work with "
                    "`tickcast train --request --wait`, or stop it"
                )
            self._say("waiting", waits_for="the lease of training")
            self._pause(_LOOK_S)
        return wanted._replace(reason=wanted.reason.replace("schedule", "once"))

    def _forever(self) -> None:
        self._say("starting")
        while True:
            try:
                self._until_champions()
                self._until_enough()
                self._train(self._until_due())
            except UnreachableError as error:
                _log.warning("%s", error)
                self._rest("waiting", self._settings.train_poll_s, error=str(error))
            except LockHeldError as error:
                self._rest("waiting", self._settings.train_poll_s, error=f"another training runs (pid {error})")
            except _LeaseLost as error:
                _log.warning("%s", error)
            except TickcastError as error:
                _log.error("%s; next try in %.0f s", error, _RETRY_S)
                self._rest("failed", _RETRY_S, error=str(error))

    def _until_due(self) -> Wanted:
        """Wait for the lease, and for the interval or a request."""
        while (wanted := self._lease.wanted(self._settings.train_interval_s)) is None:
            if self._lease.held:
                self._say("idle")
            elif self._lease.trouble:
                self._say("standby", error=self._lease.trouble)
            else:
                self._say("standby", waits_for="the lease of training, which another trainer holds")
            self._pause(_STATUS_EVERY_S)
        return wanted

    def _until_champions(self) -> None:
        """Let there be a champion of every horizon before any data are there."""
        registry = Registry(self._settings)
        if any(registry.champion_version(horizon_s) is None for horizon_s in self._settings.horizons_s):
            self._work("baseline", "starting")

    def _until_enough(self) -> None:
        while not self._enough(counts := self._counts()):
            done = min(self._needed(counts), sum(counts.values()))
            progress = Progress("candles to train on", done, self._needed(counts))
            self._rest("waiting", self._settings.train_poll_s, progress=progress, candles=counts)

    def _needed(self, counts: dict[str, int]) -> int:
        return self._settings.train_min_candles * max(1, len(counts))

    def _enough(self, counts: dict[str, int]) -> bool:
        return sum(counts.values()) >= self._needed(counts)

    def _train(self, wanted: Wanted) -> None:
        _log.info("training: %s", wanted.reason)
        with file_lock(self._settings.home / "trainer.lock", wait=False):
            started_s = time.monotonic()
            self._reason, self._verdicts = wanted.reason, {}
            self._work("train", "training", wanted.horizons_s)
            self._lease.done(wanted, self._verdicts)
            _log.info("trained, and so answered: %s", wanted.reason)
            self._status.counters["trainings"] = self._status.counters.get("trainings", 0) + 1
            self._status.detail["training_s"] = round(time.monotonic() - started_s, 1)

    def _work(self, task: job.Task, state: str, horizons_s: tuple[int, ...] = ()) -> None:
        """Run a task in its own process and follow it; no horizons are all."""
        chosen = tuple(one for one in horizons_s if one in self._settings.horizons_s)
        if horizons_s and not chosen:
            _log.warning("asked for %s s, which is none of TICKCAST_HORIZONS_S: nothing to train", horizons_s)
            return
        settings = self._settings.model_copy(update={"horizons_s": chosen or self._settings.horizons_s})
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=job.main,
            args=(there, task, settings, self._source, self._lease.until_s if task == "train" else None),
            daemon=True,
            name=f"tickcast {task}",
        )
        process.start()
        there.close()
        try:
            self._follow(here, state)
            self._pause(_LEAVE_S, process.sentinel)
        finally:
            _end(process)
            here.close()
        if process.exitcode == job.LEASE_LOST:
            raise _LeaseLost(_ABANDONED)
        if process.exitcode != 0:
            raise TickcastError(
                f"the {task} process died (exit code {process.exitcode}): its last words are in the log; "
                "if it was killed, give it memory or lower TICKCAST_TRAIN_HISTORY_DAYS"
            )

    def _follow(self, messages: Any, state: str) -> None:
        progress: Progress | None = None
        while True:
            self._say(state, progress=progress)
            if state == "training" and not self._lease.held:
                raise _LeaseLost(_ABANDONED)
            self._pause(_STATUS_EVERY_S, messages)
            while messages.poll():
                try:
                    message = messages.recv()
                except EOFError:
                    return
                if isinstance(message, job.Failure):
                    kind = UnreachableError if message.kind == "UnreachableError" else TickcastError
                    raise kind(message.text)
                if isinstance(message, HorizonReport):
                    self._reports[message.horizon_s] = message
                    self._verdicts[str(message.horizon_s)] = brief(message)
                    tell(message)
                else:
                    progress = message
                    if self._progress is not None:
                        self._progress(message.label, message.done, message.total)

    def _rest(self, state: str, seconds: float, progress: Progress | None = None, **detail: Any) -> None:
        """Wait and go on telling the state."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self._say(state, progress=progress, next_in_s=round(left_s), **detail)
            self._pause(min(_STATUS_EVERY_S, left_s))

    def _pause(self, seconds: float, *others: Any) -> None:
        if self._wake in wait([self._wake, *others], timeout=seconds):
            raise _Stopped

    def _say(self, state: str, progress: Progress | None = None, **detail: Any) -> None:
        self._lease.tell(state, progress, str(detail.get("error", "")), self._reason)
        status = self._status
        status.state, status.progress = state, progress
        kept: dict[str, object] = {key: status.detail[key] for key in ("source", "training_s") if key in status.detail}
        status.detail = {
            **kept,
            "reason": self._reason,
            "requests": self._lease.waiting,
            "horizons": {str(h): summary(r) for h, r in self._reports.items()},
            **detail,
        }
        status.counters["promoted"] = sum(report.promoted for report in self._reports.values())
        status.counters["refused"] = len(self._reports) - status.counters["promoted"]
        write_status(self._settings.home, status)


def _end(process: SpawnProcess) -> None:
    """Abandon what still runs: registry and artefacts stay whole, for the alias is set last."""
    if process.is_alive():
        process.terminate()
        process.join(_KILL_AFTER_S)
    if process.is_alive():
        process.kill()
        process.join()
