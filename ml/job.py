"""What the trainer does in a process of its own: it can be abandoned at once, and its memory goes with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ml import dataset
from ml.lock import boot_s
from ml.registry import Registry
from ml.training import HorizonReport, train_horizon
from redpanda.errors import TickcastError
from tables.status import Progress

if TYPE_CHECKING:
    from ctypes import c_double

    from ml.settings import TrainerSettings
    from ml.source import CandleSource

__all__ = ["LEASE_LOST", "Failure", "Task", "main"]

LEASE_LOST: Final = 75
"""Exit code of a training that has outlived its lease (EX_TEMPFAIL of sysexits.h)."""

Task = Literal["baseline", "train"]
_REPORT_EVERY_S = 0.2
_LOOK_S = 0.2


class Failure(NamedTuple):
    """An error on its way to the parent."""

    kind: str
    text: str


def main(
    to_parent: Connection,
    task: Task,
    settings: TrainerSettings,
    source: CandleSource,
    until_s: c_double | None = None,
) -> None:
    """Run one task; sends `Progress`, then `HorizonReport` each, or one `Failure`.

    It ends by itself when its parent does, and at `until_s`, where its lease ends by the clock of `boot_s`: the parent
    may have been stopped.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, and the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_in_time, args=(until_s,), daemon=True).start()
    os.nice(settings.train_nice)
    try:
        registry = Registry(settings)
        registry.ensure_baseline(settings.horizons_s)
        if task == "train":
            _train(to_parent, settings, source, registry)
    except TickcastError as error:
        to_parent.send(Failure(type(error).__name__, str(error)))


def _end_in_time(until_s: c_double | None) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    while not wait([parent.sentinel], timeout=None if until_s is None else _LOOK_S):
        if until_s is not None and boot_s() >= until_s.value:
            os._exit(LEASE_LOST)
    os._exit(1)


def _train(to_parent: Connection, settings: TrainerSettings, source: CandleSource, registry: Registry) -> None:
    last_sent_s = 0.0

    def progress(label: str, done: int, total: int) -> None:
        nonlocal last_sent_s
        now_s = time.monotonic()
        if now_s - last_sent_s >= _REPORT_EVERY_S:
            last_sent_s = now_s
            to_parent.send(Progress(label, done, total))

    progress("reading features", 0, 1)
    table = dataset.prepare(source.columns())
    for horizon_s in settings.horizons_s:
        report: HorizonReport = train_horizon(table, horizon_s, settings, registry, progress)
        to_parent.send(report)
