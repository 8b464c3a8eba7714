from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from kafka import KafkaProducer

from ml.lease import BELIEF_S, GroupLease, SoloLease
from ml.lock import boot_s, file_lock
from ml.request import ask
from ml.trainer import Trainer
from ml.wanted import Wanted, decode
from redpanda.errors import TickcastError, UnreachableError
from redpanda.groups import committed, member_count
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import TRAIN_REQUESTS, TRAINERS
from tests.support.feature_columns import clock_candles, feature_columns
from tests.support.file_source import FileSource
from tests.support.trainers import HOUR_S, PATIENCE_S, answered, topics, trainer_settings
from tests.support.waiting import wait_for


def nowhere() -> BrokerSettings:
    return BrokerSettings(broker_url=f"127.0.0.1:{free_port()}")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker of its own: the topic and the group have their real names."""
    with LocalBroker(tmp_path_factory.mktemp("lease-broker"), free_port()) as broker:
        topics(broker)
        yield broker


@pytest.fixture
def broker(local: LocalBroker) -> BrokerSettings:
    return answered(BrokerSettings(broker_url=local.url, partitions=1))


def test_asking_without_a_broker_names_the_setting() -> None:
    with pytest.raises(UnreachableError, match="TICKCAST_BROKER_URL"):
        ask(nowhere(), 0)


def test_lease_without_a_broker_is_not_held_and_says_why() -> None:
    with closing(GroupLease(nowhere())) as lease:
        wait_for(lambda: lease.away)
        assert not lease.held
        assert lease.wanted(0.0) is None
        assert "TICKCAST_BROKER_URL" in lease.trouble


def test_alone_a_machine_trains_by_the_interval() -> None:
    lease = SoloLease()
    wanted = lease.wanted(HOUR_S)
    assert wanted == Wanted((), "schedule", 0)
    lease.done(wanted, {})
    assert lease.wanted(HOUR_S) is None
    assert lease.wanted(0.0) == wanted


@pytest.mark.component
@pytest.mark.proof
def test_once_without_a_broker_trains_under_the_lock_of_the_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = FileSource(tmp_path / "rows.npz")
    source.fill(feature_columns("BTC/USD", clock_candles(1_500, seed=1)))
    with (
        file_lock(tmp_path / "trainer.lock", wait=False),
        pytest.raises(TickcastError, match=rf"another training runs \(pid {os.getpid()}\)"),
    ):
        Trainer(trainer_settings(tmp_path), source, GroupLease(nowhere())).run(once=True)
    assert "training under the lock file of this machine alone" in caplog.text
    assert "TICKCAST_BROKER_URL" in caplog.text


@pytest.mark.component
def test_one_holds_another_stands_by_and_takes_over_what_was_left(broker: BrokerSettings) -> None:
    with ExitStack() as held, closing(GroupLease(broker)) as first:
        wait_for(lambda: first.held, PATIENCE_S)
        second = held.enter_context(closing(GroupLease(broker)))
        wait_for(lambda: member_count(broker, TRAINERS) == 2, PATIENCE_S)
        before = ask(broker, 300)
        wait_for(lambda: first.waiting == 1, PATIENCE_S)
        wanted = first.wanted(HOUR_S)
        assert wanted is not None
        assert wanted[:3] == ((300,), "demand", before + 1)
        during = ask(broker, 60)
        wait_for(lambda: first.waiting == 2, PATIENCE_S)
        assert (first.held, second.held, second.wanted(0.0)) == (True, False, None), "a newcomer takes nothing away"
        first.done(wanted, {"300": "refused"})
        assert first.waiting == 1, "what came while it ran is still to be done"
        first.close()
        wait_for(lambda: second.held and second.waiting, PATIENCE_S)
        assert not first.held
        assert second.wanted(HOUR_S) == Wanted((60,), "demand", during + 1, tenure=1), "the answered is not done again"
        kept = committed(broker, TRAINERS)[TRAIN_REQUESTS, 0]
        assert (kept.offset, decode(kept.metadata).verdicts) == (during, {"300": "refused"})


@pytest.mark.component
def test_record_that_is_no_request_is_passed_over(broker: BrokerSettings) -> None:
    with KafkaProducer(bootstrap_servers=broker.broker_url) as producer:
        for value in (b"{", b'{"horizon_s": "x"}', None):
            producer.send(TRAIN_REQUESTS, value, key=b"0")
        producer.flush()
    with closing(GroupLease(broker)) as lease:
        offset = ask(broker, 0)
        wait_for(lambda: lease.held and lease.waiting == 1, PATIENCE_S)
        wanted = lease.wanted(HOUR_S)
        assert wanted is not None
        assert wanted.upto == offset + 1


@pytest.mark.component
@pytest.mark.proof
def test_once_beside_a_holder_says_how_to_ask_it(
    broker: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.trainer.SESSION_S", 1.0)
    source = FileSource(tmp_path / "rows.npz")
    source.fill(feature_columns("BTC/USD", clock_candles(1_500, seed=1)))
    with closing(GroupLease(broker)) as holder:
        wait_for(lambda: holder.held, PATIENCE_S)
        with pytest.raises(TickcastError, match="tickcast train --request --wait"):
            Trainer(trainer_settings(tmp_path), source, GroupLease(broker)).run(once=True)
        assert holder.held


@pytest.mark.component
@pytest.mark.proof
def test_broker_that_answers_no_more_ends_the_belief_in_the_lease(local: LocalBroker, broker: BrokerSettings) -> None:
    with closing(GroupLease(broker)) as lease:
        wait_for(lambda: lease.held, PATIENCE_S)
        os.kill(local.pid or 0, signal.SIGSTOP)
        try:
            stopped_s = boot_s()
            wait_for(lambda: not lease.held, BELIEF_S + 2.0)
            assert boot_s() - stopped_s < BELIEF_S + 0.5
        finally:
            os.kill(local.pid or 0, signal.SIGCONT)
        wait_for(lambda: lease.held, PATIENCE_S)
        ask(broker, 60)
        wait_for(lambda: lease.waiting == 1, PATIENCE_S)


@pytest.mark.component
def test_thread_of_a_closed_lease_has_ended(broker: BrokerSettings) -> None:
    lease = GroupLease(broker)
    wait_for(lambda: lease.held, PATIENCE_S)
    closed_s = time.monotonic()
    lease.close()
    assert time.monotonic() - closed_s < 10.0
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]
    assert member_count(broker, TRAINERS) == 0, "the next one need not wait for the session to end"
