"""The ingest service and the simulator as child processes on a folder and a broker."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agents.trades.settings import DEFAULT_PAIRS, sim_settings
from redpanda.local.checks import free_port
from redpanda.tail import last_records
from redpanda.topics import TRADES
from tables.records import Trade
from tables.status import read_status
from tests.support.exchange import steady_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redpanda.settings import BrokerSettings

__all__ = ["DEADLINE_S", "IngestStack", "published", "wait_for"]

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
PROGRAMS = {
    "sim": "from agents.trades.sim.server import run; from agents.trades.settings import *; run(sim_settings())",
    "ingest": "from agents.trades.service import run; from agents.trades.settings import *; run(ingest_settings())",
}


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not what():
        assert time.monotonic() < deadline, "not in time"
        pause.wait(0.05)


def published(broker: BrokerSettings, pair: str) -> list[Trade]:
    rows = [row for part in last_records(broker, TRADES, 1_000_000).values() for row in part]
    values = [row.value or b"" for row in rows if row.key == pair.encode()]
    envelopes = [msgspec.json.decode(value, type=list[Trade]) for value in values]
    assert all(0 < len(envelope) <= 1_000 for envelope in envelopes)
    return [trade for envelope in envelopes for trade in envelope]


class IngestStack:
    """Settings of a folder, and the programs that run on it."""

    def __init__(self, home: Path, broker: BrokerSettings, **settings: str) -> None:
        self.home = home
        self.broker = broker
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TICKCAST_HOME": str(home),
            "TICKCAST_BROKER_URL": broker.broker_url,
            "TICKCAST_SOURCE": "sim",
            "TICKCAST_SINCE": "4s",
            "TICKCAST_SIM_PORT": str(free_port()),
            "TICKCAST_INGEST_PORT": str(free_port()),
            "TICKCAST_SIM_TRADES_PER_MIN": "20000",
            **settings,
        }
        pairs = self.environment.get("TICKCAST_PAIRS", DEFAULT_PAIRS)
        market = sim_settings(pairs=pairs, trades_per_min=self.environment["TICKCAST_SIM_TRADES_PER_MIN"])
        self.environment.setdefault("TICKCAST_SIM_SEED", str(steady_seed(market)))

    @contextmanager
    def runs(self, program: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAMS[program]],
            env=self.environment,
            cwd=self.home,
            text=True,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def count(self, name: str, process: subprocess.Popen[str]) -> int:
        status = read_status(self.home, "ingest")
        return status.counters.get(name, 0) if status is not None and status.pid == process.pid else 0

    def get(self, path: str) -> int:
        return self.page(path)[0]

    def page(self, path: str) -> tuple[int, str]:
        """Give status and text of a page of the ingest service; 0 where nobody listens yet."""
        url = f"http://127.0.0.1:{self.environment['TICKCAST_INGEST_PORT']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # loopback
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:  # URLError is one; a service that ends in the answer gives others
            return 0, ""
