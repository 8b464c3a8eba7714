"""A worker that is stopped past its session wakes up with a chunk in its hands, older than what the new owner has."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from faust.types import TP
from kafka import KafkaAdminClient

from agents.chunk import Chunk
from redpanda.settings import BrokerSettings
from tests.support.members import Member, Stage, committed, make_topic, produce
from tests.support.waiting import until
from tests.support.worker import ROOT

pytestmark = [pytest.mark.component, pytest.mark.proof, pytest.mark.usefixtures("collected")]


@pytest.mark.parametrize("where", ["behind the row", "before the row"])
def test_worker_that_lost_its_partitions_while_it_slept_overwrites_no_row_of_the_new_owner(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient, where: str
) -> None:
    topic = where.replace(" ", "-")
    tp = TP(topic, 0)
    make_topic(broker_admin, topic)
    produce(broker_settings, topic, [b"a"])
    script = str(Path(__file__).with_name("stopping_worker.py"))
    log = (tmp_path / "zombie.log").open("wb")
    zombie = subprocess.Popen(
        [sys.executable, script, broker_settings.broker_url, topic, str(tmp_path / "zombie"), where],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=log,
        stderr=subprocess.STDOUT,
    )

    async def own(home: Path, end: int) -> bytes | None:
        """Own the partition, write its row, and tell what the row was at first."""
        stage = Stage()
        stage.offsets[tp].update(range(end))
        member = Member(topic, broker_settings, home, {topic: [stage]}, table_partitions=1)
        found: list[bytes | None] = []

        async def work(chunk: Chunk) -> None:
            found.append(member.table.get(b"row"))
            member.table[b"row"] = b"%d" % chunk.next_offset

        stage.work = work
        async with member.running():
            await until(lambda: member.holds() == {tp}, 40)
            end = await asyncio.to_thread(produce, broker_settings, topic, [b"b"])
            await until(lambda: committed(broker_admin, topic).get(tp) == end)
            if zombie.poll() is None and psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED:
                generation = member.generation
                zombie.send_signal(signal.SIGCONT)
                # Before it comes back it lets go of its chunk, row and all; or it gives up.
                await until(lambda: zombie.poll() is not None or member.is_ready(generation + 1), 40)
        return found[0] if found else None

    try:
        asyncio.run(until(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED, 40))
        assert asyncio.run(own(tmp_path / "second", 0)) is None
        zombie.kill()
        assert asyncio.run(own(tmp_path / "third", 2)) == b"2", (tmp_path / "zombie.log").read_text()
    finally:
        zombie.kill()
        zombie.wait()
        log.close()
