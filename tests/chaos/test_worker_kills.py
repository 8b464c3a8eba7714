"""Workers are killed, wiped, joined and paused while trades flow; then everything is recomputed and compared.

`make chaos KILLS=N SEED=S` runs it longer, or again.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest

from redpanda.settings import BrokerSettings
from tests.support.feed import Feed
from tests.support.waiting import wait_for
from tests.support.worker import Worker, own_broker

pytestmark = [pytest.mark.chaos, pytest.mark.component, pytest.mark.timeout(3_600)]
__all__ = ["own_broker"]

KILLS = int(os.environ.get("TICKCAST_CHAOS_KILLS", "3"))
SEED = int(os.environ.get("TICKCAST_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


def wait_at_random(feed: Feed, longest_s: float) -> None:
    """Choose the moment of the next blow: it is the experiment, not a condition to wait for."""
    threading.Event().wait(feed.chance.uniform(0.1, longest_s))


def tell(ledger: str) -> None:
    """Print the ledger, and keep it for `make chaos`, whose last line it is."""
    print("\n" + ledger)
    if path := os.environ.get("TICKCAST_CHAOS_LEDGER"):
        with Path(path).open("a") as file:
            file.write(ledger + "\n")


def test_killed_worker_loses_nothing_and_doubles_nothing(tmp_path: Path, own_broker: BrokerSettings) -> None:
    worker = Worker(tmp_path, own_broker.broker_url)
    feed = Feed(own_broker, SEED, lasting_s=9.0 * KILLS)
    try:
        for kill in range(KILLS):
            worker.start()
            wait_for(worker.is_live, 90)
            wait_at_random(feed, 3.0)
            worker.kill()
            if kill % 3 == 1:
                shutil.rmtree(tmp_path / "worker")
        feed.hurry()
        worker.start()
        wait_for(worker.is_live, 90)
        tell(feed.judge(f"kills={KILLS}"))
    finally:
        feed.hurry()
        worker.close()


def test_workers_come_go_and_stall_without_a_trace(tmp_path: Path, own_broker: BrokerSettings) -> None:
    """One worker, then two, one of them killed, one stopped past its session, one sent away: 1-2-1-2-1."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first, second = (Worker(folder, own_broker.broker_url) for folder in folders)
    feed = Feed(own_broker, SEED, lasting_s=75.0)
    try:
        first.start()
        wait_for(first.is_live, 90)
        second.start()
        wait_for(second.is_live, 90)
        wait_at_random(feed, 3.0)
        second.kill()
        wait_at_random(feed, 3.0)
        second.start()
        wait_for(second.is_live, 90)
        second.signal(signal.SIGSTOP)
        threading.Event().wait(9.0)  # past the session time-out of 6 s: its partitions move to the first
        second.signal(signal.SIGCONT)
        wait_at_random(feed, 3.0)
        second.close()
        feed.hurry()
        wait_for(first.is_live, 90)
        tell(feed.judge("workers=1-2-1-2-1"))
    finally:
        feed.hurry()
        second.signal(signal.SIGCONT)
        first.close()
        second.close()
