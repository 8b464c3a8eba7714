"""A worker that stops itself (SIGSTOP) with a chunk in its hands; run by test_chunks_zombie in a process of its own.

Arguments: broker, topic (also the group), folder, and where to stop: before the table row, or right behind it, before
Faust has sent its changelog record.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import faust

from agents.chunk import Chunk
from redpanda.settings import BrokerSettings
from tests.support.members import Member, Stage

if __name__ == "__main__":
    broker, topic, folder, where = sys.argv[1:]
    stage = Stage()
    member = Member(
        topic, BrokerSettings(broker_url=broker), Path(folder), {topic: [stage]}, table_partitions=1, web_enabled=False
    )

    def stop_once(at: str) -> None:
        if at == where and len(stage.seen) == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    async def work(chunk: Chunk) -> None:
        stop_once("before the row")
        member.table[b"row"] = b"%d" % chunk.next_offset
        stop_once("behind the row")

    stage.work = work
    faust.Worker(member.app, redirect_stdouts=False, quiet=True, loglevel="INFO").execute_from_commandline()
