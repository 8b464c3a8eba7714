"""Whole trainers on one broker: one trains, and what was asked is done once, whoever dies."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ml.lease import BELIEF_S, SESSION_S, GroupLease
from ml.registry import Registry
from ml.request import ask, follow
from ml.trainer import Trainer
from redpanda import admin
from redpanda.groups import committed_offsets, member_count
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import TRAIN_REQUESTS, TRAINERS
from tables.status import Status, read_status
from tests.support.feature_columns import clock_candles, feature_columns
from tests.support.file_source import FileSource
from tests.support.trainers import HOUR_S, PATIENCE_S, answered, state, topics, trainer_process, trainer_settings
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.component, pytest.mark.proof]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    with LocalBroker(tmp_path_factory.mktemp("trainers-broker"), free_port()) as broker:
        topics(broker)
        yield broker


@pytest.fixture
def broker(local: LocalBroker) -> BrokerSettings:
    return answered(BrokerSettings(broker_url=local.url, partitions=1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with candles and a first champion, so that no trainer has to make one."""
    home = tmp_path_factory.mktemp("made")
    FileSource(home / "rows.npz").fill(feature_columns("BTC/USD", clock_candles(3_000, seed=3)))
    Registry(trainer_settings(home)).ensure_baseline((60,))
    return home


@pytest.fixture
def homes(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two machines with the same data: each has its own lock file."""
    return Path(shutil.copytree(made, tmp_path / "one")), Path(shutil.copytree(made, tmp_path / "two"))


def status_of(home: Path) -> Status:
    status = read_status(home, "trainer")
    assert status is not None
    return status


def trains(home: Path) -> bool:
    return state(home) == "training" and "demand" in str(status_of(home).detail["reason"])


def job_of(pid: int) -> list[psutil.Process]:
    """The training process of a trainer; the tracker of its shared memory is none."""
    return [one for one in psutil.Process(pid).children() if "resource_tracker" not in " ".join(one.cmdline())]


def test_killed_trainer_is_followed_by_the_other_on_the_same_request(
    broker: BrokerSettings, homes: tuple[Path, Path]
) -> None:
    one, two = homes
    with trainer_process(one, broker) as first:
        wait_for(lambda: state(one) == "idle", PATIENCE_S)
        with trainer_process(two, broker):
            wait_for(lambda: state(two) == "standby", PATIENCE_S)
            offset = ask(broker, 60)
            wait_for(lambda: trains(one) and status_of(one).progress, PATIENCE_S)  # before, it only imports
            jobs = job_of(first.pid)
            assert state(two) == "standby", "of two one trains"
            killed_s = time.monotonic()
            first.kill()
            wait_for(lambda: trains(two), PATIENCE_S)
            took_s = time.monotonic() - killed_s
            assert not [job for job in jobs if job.is_running() and job.status() != psutil.STATUS_ZOMBIE]
            print(f"the other trains {took_s:.1f} s after the kill")
            assert took_s < SESSION_S + 10.0
            assert committed_offsets(broker, TRAINERS)[TRAIN_REQUESTS, 0] == offset, "not answered yet"


def test_stopped_trainer_ends_its_training_before_another_begins(
    broker: BrokerSettings, homes: tuple[Path, Path]
) -> None:
    one, two = homes
    with trainer_process(one, broker) as first:
        wait_for(lambda: state(one) == "idle", PATIENCE_S)
        with trainer_process(two, broker):
            wait_for(lambda: state(two) == "standby", PATIENCE_S)
            ask(broker, 60)
            wait_for(lambda: trains(one) and status_of(one).progress, PATIENCE_S)  # before, it only imports
            (job,) = job_of(first.pid)
            stopped_s = time.monotonic()
            os.kill(first.pid, signal.SIGSTOP)
            wait_for(lambda: job.status() == psutil.STATUS_ZOMBIE, 2 * BELIEF_S)
            ended_s = time.monotonic() - stopped_s
            assert not trains(two), "the lease had not yet passed on"
            wait_for(lambda: trains(two), PATIENCE_S)
            print(
                f"training ended {ended_s:.1f} s, the other's began {time.monotonic() - stopped_s:.1f} s after the stop"
            )
            assert ended_s < BELIEF_S + 1.0
            os.kill(first.pid, signal.SIGCONT)
            wait_for(lambda: state(one) == "standby", PATIENCE_S)
            assert not job_of(first.pid)
            assert trains(two), "who comes back takes nothing away"


@contextmanager
def trainer_thread(home: Path, broker: BrokerSettings) -> Iterator[None]:
    """A trainer in this process that trains for some seconds."""
    chosen = trainer_settings(home, tune_trials=100_000, tune_budget_s=2.0)
    trainer = Trainer(chosen, FileSource(home / "rows.npz"), GroupLease(broker))
    thread = threading.Thread(target=trainer.run, kwargs={"once": False})
    thread.start()
    try:
        yield
    finally:
        trainer.stop()
        thread.join(PATIENCE_S)


def trainings(home: Path) -> int:
    return status_of(home).counters.get("trainings", 0)


def test_requests_during_a_training_lead_to_exactly_one_more(broker: BrokerSettings, homes: tuple[Path, Path]) -> None:
    home, _ = homes
    with trainer_thread(home, broker):
        wait_for(lambda: state(home) == "idle", PATIENCE_S)
        ask(broker, 60)
        wait_for(lambda: trains(home), PATIENCE_S)
        asked = [ask(broker, horizon_s) for horizon_s in (60, 60, 0)]
        assert trainings(home) == 0, "all three came while it ran"
        steps: list[tuple[str, int, int]] = []
        verdicts = follow(broker, asked[-1], lambda *step: steps.append(step))
        wait_for(lambda: state(home) == "idle", PATIENCE_S)
        assert (trainings(home), status_of(home).detail["requests"]) == (2, 0)
        assert committed_offsets(broker, TRAINERS)[TRAIN_REQUESTS, 0] == asked[-1] + 1
        assert verdicts["60"].startswith(("promoted: version", "refused: version"))
        assert "tuning 1 min" in {label for label, _, _ in steps}, "who asks sees how far it is"


def test_without_any_request_the_schedule_trains(broker: BrokerSettings, homes: tuple[Path, Path]) -> None:
    home, _ = homes
    wait_for(lambda: member_count(broker, TRAINERS) == 0, PATIENCE_S)
    with admin.connect(broker) as client:
        client.delete_groups([TRAINERS])  # what it knew of the last training goes with it
    with trainer_thread(home, broker):
        wait_for(lambda: state(home) == "training", PATIENCE_S)
        assert "schedule" in str(status_of(home).detail["reason"])
        wait_for(lambda: state(home) == "idle", PATIENCE_S)
        assert trainings(home) == 1
    with trainer_thread(home, broker):
        wait_for(lambda: state(home) == "idle", PATIENCE_S)
        assert trainings(home) == 0, "a trainer that comes later knows that it is not yet time"
    assert trainer_settings(home).train_interval_s == HOUR_S
