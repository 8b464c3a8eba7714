"""A worker that ends at once (`os._exit`) at a step of its second chunk of trades; run by test_crash_points.

Arguments: folder, and the step. Chunks are cut small, so that there are many.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import faust

import agents.candles
import agents.chunks
from agents.chunk import Chunk
from agents.durable import pass_buffer
from app.stream import create_app
from app.worker_settings import WorkerSettings
from ml.settings import MlSettings
from redpanda.settings import BrokerSettings
from redpanda.topics import TRADES
from tables.candles import CandleRules
from tables.clickhouse.settings import StoreSettings

EXIT_CODE = 77
STEPS = ("folded", "outputs sent", "row written", "done", "rows sent", "committed")
PASSED = {"folded": 2, "outputs sent": 2, "row written": 2, "done": 2, "rows sent": 1, "committed": 1}
"""Which time a step is the last one (count)."""


class Crash:
    """Counts how often a step was passed."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._left = PASSED[step]
        self.done = 0

    async def at_settled(self, step: str, app: Any) -> None:
        """Like `at`, but what was handed out so far is with the broker first: rows, and offsets that are free."""
        if step == self._step and self._left == 1:
            await pass_buffer(app.producer)
            await app.consumer.commit()
        self.at(step)

    def at(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if not self._left:
                os._exit(EXIT_CODE)


def install(crash: Crash) -> None:
    """Put the steps around what the stage and the consumer do."""
    stage: Any = agents.candles
    consumer: Any = agents.chunks
    chunks: Any = Chunk
    deliver, done = stage.deliver_all, chunks.done
    commit = consumer.ChunkConsumer._commit_offsets

    async def stepped_deliver(app: Any, *args: Any) -> None:
        await crash.at_settled("folded", app)
        await deliver(app, *args)
        await crash.at_settled("outputs sent", app)

    def stepped_done(chunk: Chunk) -> None:
        if chunk.tp.topic == TRADES and len(chunk):
            crash.at("row written")
            done(chunk)
            crash.done += 1
            crash.at("done")
        else:
            done(chunk)

    async def stepped_pass(producer: Any) -> bool:
        passed: bool = await pass_buffer(producer)
        if crash.done:
            crash.at("rows sent")
        return passed

    async def stepped_commit(*args: Any, **kwargs: Any) -> bool:
        committed: bool = await commit(*args, **kwargs)
        if crash.done:
            crash.at("committed")
        return committed

    stage.deliver_all = stepped_deliver
    chunks.done = stepped_done
    consumer.pass_buffer = stepped_pass
    consumer.ChunkConsumer._commit_offsets = stepped_commit
    consumer.MAX_CHUNK_RECORDS = 20


if __name__ == "__main__":
    home = Path(sys.argv[1])
    install(Crash(os.environ["CRASH_STEP"]))
    settings = WorkerSettings(home=home, stages=("candles",))
    app = create_app(settings, BrokerSettings(), CandleRules(), MlSettings(home=home), StoreSettings(home=home))
    faust.Worker(app, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
