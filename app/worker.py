"""Running the Faust worker in the foreground."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from typing import Final

import faust
import uvloop

from agents.chunk_app import ChunkApp
from agents.metrics_page import MetricsSettings
from app.stream import the_app
from app.worker_settings import WorkerSettings
from ml.settings import DriftSettings, MlSettings
from redpanda.admin import connect
from redpanda.errors import TickcastError
from redpanda.local.checks import require_port
from redpanda.settings import BrokerSettings
from tables.candles import CandleRules
from tables.clickhouse.settings import StoreSettings

__all__ = ["calm_collector", "run", "why"]

logger = logging.getLogger("tickcast.worker")

STOP_GRACE_S: Final = 10.0
"""How long a worker that cannot go on may take to stop: to commit, and to leave the group."""
LOOK_EVERY_S: Final = 0.5


def run() -> None:
    """Run one worker until it is told to stop.

    Raises
    ------
    ConfigError
        The port of the worker's web server is taken, or another worker has its folder.
    UnreachableError
        The broker does not answer.
    LostStateError
        A changelog has lost rows.
    SystemExit
        When the worker has stopped: 0 where it was asked to, 1 with one line on stderr where it could not go on.

    """
    settings, broker = WorkerSettings(), BrokerSettings()
    # A wrong setting is told before a broker that is away.
    CandleRules(), MlSettings(), DriftSettings(), StoreSettings(), MetricsSettings()
    require_port(settings.worker_port, "TICKCAST_WORKER_PORT", "")
    connect(broker).close()
    uvloop.install()
    logger.info("Worker %s: stages %s", settings.worker_name, ", ".join(settings.stages))
    app = the_app()
    calm_collector()
    worker = faust.Worker(app, redirect_stdouts=False, quiet=True, loglevel="INFO")
    threading.Thread(target=_end_in_time, args=(app,), daemon=True).start()
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        reason = app.crash_reason or worker.crash_reason
        if not ended.code:
            raise
        if isinstance(reason, TickcastError) and not reason.retriable:
            raise reason from None
        sys.stderr.write(f"worker ended: {why(reason, app.failed())}\n")
        raise


def calm_collector() -> None:
    """Let the garbage collector look less often, and not at what was there before.

    A chunk is ten thousands of short-lived lists: with Python's thresholds the collector takes a third of the time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _end_in_time(app: ChunkApp) -> None:
    """End the process when it has crashed and cannot even stop: with a broker that is away, Faust waits for it."""
    while not app.crashed:
        time.sleep(LOOK_EVERY_S)
    time.sleep(STOP_GRACE_S)
    sys.stderr.write(f"worker ended: {why(app.crash_reason, app.failed())}\n")
    sys.stderr.flush()
    os._exit(1)


def why(reason: BaseException | None, failed: str) -> str:
    """Say in one line why the worker could not go on.

    Parameters
    ----------
    failed
        The stage that met it, with the error; empty where it was none.

    """
    text = failed or (str(reason) if isinstance(reason, TickcastError) else repr(reason))
    if "No space left on device" in text or "File too large" in text:
        text += ". The disk is full: free some, or set TICKCAST_HOME to a folder on another disk"
    return " ".join(text.split())
