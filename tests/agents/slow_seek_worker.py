"""A worker whose broker answers a seek slowly and whose handler is slow; run by test_chunk_delivery in a process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust

from agents import chunks
from agents.chunk import Chunk
from agents.stage import WorkerState, register
from app.stream import create_app
from app.worker_settings import WorkerSettings
from ml.settings import MlSettings
from redpanda.settings import BrokerSettings
from redpanda.topics import NEWS
from tables.candles import CandleRules
from tables.clickhouse.settings import StoreSettings

SEEK_S = 0.5
HANDLER_S = 0.1


class SlowSeek(chunks.ChunkConsumer):
    async def seek_to_committed(self) -> Mapping[Any, int]:
        found = await super().seek_to_committed()
        await asyncio.sleep(SEEK_S)
        return found


async def write_down(chunk: Chunk) -> None:
    await asyncio.sleep(HANDLER_S)
    with (home / "handled.txt").open("a") as file:
        file.write(f"{chunk.generation} {chunk.tp.partition} {chunk.first_offset} {chunk.next_offset}\n")
    chunk.done()


if __name__ == "__main__":
    home = Path(sys.argv[1])
    chunks.ChunkTransport.Consumer = SlowSeek
    settings = WorkerSettings(home=home, stages=("candles",))
    app = create_app(settings, BrokerSettings(), CandleRules(), MlSettings(home=home), StoreSettings(home=home))
    register(app, WorkerState(), NEWS, "writing", write_down)
    faust.Worker(app, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
