"""Running the Faust worker in the foreground."""

from __future__ import annotations

import gc
import logging

import faust
import uvloop

from app.stream import the_app
from app.worker_settings import WorkerSettings
from ml.settings import MlSettings
from redpanda.admin import connect
from redpanda.local.checks import require_port
from redpanda.settings import BrokerSettings
from tables.candles import CandleRules
from tables.clickhouse.settings import StoreSettings

__all__ = ["run"]

logger = logging.getLogger("tickcast.worker")


def run() -> None:
    """Run one worker until it is told to stop.

    Raises
    ------
    ConfigError
        The port of the worker's web server is taken.
    UnreachableError
        The broker does not answer.
    SystemExit
        When the worker has stopped, with its exit code.

    """
    settings, broker = WorkerSettings(), BrokerSettings()
    # A wrong setting is told before a broker that is away.
    CandleRules(), MlSettings(), StoreSettings()
    require_port(settings.worker_port, "TICKCAST_WORKER_PORT", "")
    connect(broker).close()
    uvloop.install()
    logger.info("Worker %s: stages %s", settings.worker_name, ", ".join(settings.stages))
    app = the_app()
    # A chunk is ten thousands of short-lived lists: with Python's thresholds the collector takes a third of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    faust.Worker(app, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
