"""Trainers on a broker: topics, settings that train short or for ever, and a program to kill."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.lease import GroupLease
from ml.request import ask
from ml.settings import TrainerSettings
from redpanda import admin
from redpanda.settings import BrokerSettings
from tables.status import Status, read_status
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redpanda.local import LocalBroker

__all__ = ["HOUR_S", "PATIENCE_S", "answered", "state", "topics", "trainer_process", "trainer_settings"]

ROOT = Path(__file__).parents[2]
HOUR_S = 3_600.0
PATIENCE_S = 180.0
"""Sessions, rebalances and imports on a machine that does other things too."""

_PROGRAM = """
import sys
from pathlib import Path
from ml.lease import GroupLease
from ml.trainer import Trainer
from redpanda.settings import BrokerSettings
from tests.support.file_source import FileSource
from tests.support.trainers import trainer_settings
if __name__ == "__main__":
    home = Path(sys.argv[1])
    chosen = trainer_settings(home, tune_trials=100_000, tune_budget_s=600)
    Trainer(chosen, FileSource(home / "rows.npz"), GroupLease(BrokerSettings(broker_url=sys.argv[2]))).run(once=False)
"""


def topics(broker: LocalBroker) -> None:
    """Make all topics."""
    settings = BrokerSettings(broker_url=broker.url, partitions=1)
    with admin.connect(settings) as client:
        admin.apply(client, settings)


def trainer_settings(home: Path, **other: Any) -> TrainerSettings:
    """Train one horizon, briefly, every hour."""
    defaults: dict[str, Any] = {
        "home": home,
        "source": "sim",
        "horizons_s": (60,),
        "tune_trials": 0,
        "train_interval_s": HOUR_S,
        "train_poll_s": 0.2,
        "train_nice": 0,
    }
    return TrainerSettings(**{**defaults, **other})


def answered(broker: BrokerSettings) -> BrokerSettings:
    """Answer what earlier tests asked for, up to a request of its own; the schedule then wants nothing for an hour."""
    last = ask(broker, 0)
    with closing(GroupLease(broker)) as lease:
        upto = 0
        while upto <= last:
            wanted = wait_for(lambda: lease.wanted(0.0), PATIENCE_S)
            lease.done(wanted, {})
            upto = wanted.upto
    return broker


def state(home: Path) -> str:
    """Give the state that the trainer of a folder tells; empty before it tells any."""
    status: Status | None = read_status(home, "trainer")
    return status.state if status is not None else ""


@contextmanager
def trainer_process(home: Path, broker: BrokerSettings) -> Iterator[subprocess.Popen[bytes]]:
    """Run a trainer whose trainings last ten minutes; killed at the end."""
    program = home / "program.py"
    program.write_text(_PROGRAM)
    command = [sys.executable, str(program), str(home), broker.broker_url]
    run = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield run
    finally:
        run.kill()
        run.wait()
