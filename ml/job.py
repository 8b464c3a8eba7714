"""What the trainer does in a process of its own: it can be abandoned at once, and its memory goes with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Literal, NamedTuple

from ml import dataset
from ml.registry import Registry
from ml.training import HorizonReport, train_horizon
from redpanda.errors import TickcastError
from tables.status import Progress

if TYPE_CHECKING:
    from ml.settings import TrainerSettings
    from ml.source import CandleSource

__all__ = ["Failure", "Task", "main"]

Task = Literal["baseline", "train"]
_REPORT_EVERY_S = 0.2


class Failure(NamedTuple):
    """An error on its way to the parent."""

    kind: str
    text: str


def main(to_parent: Connection, task: Task, settings: TrainerSettings, source: CandleSource) -> None:
    """Run one task; sends `Progress`, then `HorizonReport` each, or one `Failure`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, and the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.nice(settings.train_nice)
    try:
        registry = Registry(settings)
        registry.ensure_baseline(settings.horizons_s)
        if task == "train":
            _train(to_parent, settings, source, registry)
    except TickcastError as error:
        to_parent.send(Failure(type(error).__name__, str(error)))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
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
