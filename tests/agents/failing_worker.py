"""A worker with one stage that cannot go on; run by test_stage_failure in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import faust

from agents.chunk import Chunk
from agents.stage import WorkerState, register
from app.stream import create_app
from app.worker_settings import WorkerSettings
from ml.settings import MlSettings
from redpanda.settings import BrokerSettings
from redpanda.topics import NEWS
from tables.candles import CandleRules
from tables.clickhouse.settings import StoreSettings


async def fail(chunk: Chunk) -> None:
    raise RuntimeError(f"cannot fold {len(chunk)} records")


if __name__ == "__main__":
    home = Path(sys.argv[1])
    settings = WorkerSettings(home=home, stages=("candles",))
    app = create_app(settings, BrokerSettings(), CandleRules(), MlSettings(home=home), StoreSettings(home=home))
    register(app, WorkerState(), NEWS, "failing", fail)
    faust.Worker(app, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
