from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer

from ml.lease import SESSION_S, GroupLease, Mark, Wanted, due
from ml.request import ask
from redpanda import admin
from redpanda.errors import UnreachableError
from redpanda.groups import member_count
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import TRAIN_REQUESTS, TRAINERS
from tables.records import TrainRequest
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
HOUR_S = 3_600.0
times = st.integers(0, 10_000_000)


def request(asked_at_ms: int, horizon_s: int = 0, reason: str = "demand") -> TrainRequest:
    return TrainRequest(horizon_s, reason, "", "", asked_at_ms)


def test_schedule_comes_first_and_trains_all() -> None:
    assert due(None, [], 0, HOUR_S) == Wanted((), "schedule")
    assert due(Mark(0, 1_000), [], 3_601_000, HOUR_S) == Wanted((), "schedule")
    assert due(Mark(0, 1_000), [], 3_600_999, HOUR_S) is None
    assert due(Mark(0, 1_000, "other inputs"), [], 1_001, HOUR_S) == Wanted((), "schedule"), "after an update"


def test_request_is_met_by_a_training_that_began_after_it() -> None:
    mark = Mark(5_000, 9_000)
    assert due(mark, [request(4_999), request(5_000)], 9_001, HOUR_S) is None
    assert due(mark, [request(5_001)], 9_001, HOUR_S) == Wanted((), "demand"), "it came while the training ran"


def test_requests_come_together_in_one_training() -> None:
    rows = [request(10, 300, "drift"), request(11, 60, "skill"), request(12, 300, "drift")]
    assert due(Mark(0, 5), rows, 20, HOUR_S) == Wanted((60, 300), "drift, skill")
    assert due(Mark(0, 5), [*rows, request(13, 0)], 20, HOUR_S) == Wanted((), "demand, drift, skill")


@given(st.lists(times, max_size=8), times, st.integers(0, 100_000))
def test_whatever_was_asked_before_a_training_began_leads_to_no_other(
    asked: list[int], began_ms: int, took_ms: int
) -> None:
    mark = Mark(began_ms, began_ms + took_ms)
    wanted = due(mark, [request(at) for at in asked], mark.ended_ms, HOUR_S)
    assert (wanted is None) == all(at <= began_ms for at in asked)


def test_asking_without_a_broker_names_the_setting() -> None:
    with pytest.raises(UnreachableError, match="TICKCAST_BROKER_URL"):
        ask(BrokerSettings(broker_url=f"127.0.0.1:{free_port()}"), 0)


def test_lease_without_a_broker_is_not_held_and_says_why() -> None:
    lease = GroupLease(BrokerSettings(broker_url=f"127.0.0.1:{free_port()}"))
    lease.beat()
    assert not lease.held
    assert "TICKCAST_BROKER_URL" in lease.trouble
    lease.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerSettings]:
    """A broker of its own: the topic and the group have their real names."""
    with LocalBroker(tmp_path_factory.mktemp("lease-broker"), free_port()) as local:
        settings = BrokerSettings(broker_url=local.url, partitions=1)
        with admin.connect(settings) as client:
            admin.apply(client, settings)
        yield settings


@contextmanager
def kept(lease: GroupLease) -> Iterator[GroupLease]:
    """Beat in a thread of its own, as a trainer does in a process of its own."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(0.05):
            lease.beat()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield lease
    finally:
        stopped.set()
        thread.join()


@pytest.mark.component
def test_one_holds_another_stands_by_and_takes_over_what_was_left(broker: BrokerSettings) -> None:
    first, second = GroupLease(broker), GroupLease(broker)
    with ExitStack() as later:
        with kept(first):
            wait_for(lambda: first.held)
            later.enter_context(kept(second))
            wait_for(lambda: member_count(broker, TRAINERS) == 2)
            asked = ask(broker, 300)
            wait_for(lambda: first.requests == [asked])
            first.begin()
            during = ask(broker, 60)
            wait_for(lambda: first.requests == [asked, during])
            assert (first.held, second.held) == (True, False), "a newcomer does not take the lease"
        first.done()
        assert first.requests == [during], "what came while it ran is still to be done"
        first.close()
        wait_for(lambda: second.held and second.requests)
        assert second.mark == first.mark, "the successor knows when the last training was"
        assert second.requests == [during], "what was met is not read again, what was not met is"
        now_ms = second.mark.ended_ms if second.mark else 0
        assert due(second.mark, second.requests, now_ms, HOUR_S) == Wanted((60,), "demand")
    second.close()


@pytest.mark.component
def test_record_that_is_no_request_is_passed_over(broker: BrokerSettings) -> None:
    with KafkaProducer(bootstrap_servers=broker.broker_url) as producer:
        for value in (b"{", b'{"horizon_s": "x"}', None):
            producer.send(TRAIN_REQUESTS, value, key=b"0")
        producer.flush()
    with kept(GroupLease(broker)) as lease:
        asked = ask(broker, 0, "after the broken ones")
        wait_for(lambda: asked in lease.requests)
        assert lease.trouble == ""
    lease.close()


HOLDER = """
import sys
from ml.lease import GroupLease
from redpanda.settings import BrokerSettings
lease = GroupLease(BrokerSettings(broker_url=sys.argv[1]))
said = False
while True:
    lease.beat()
    if lease.held and not said:
        said = True
        lease.begin()
        print("held", flush=True)
"""


@pytest.mark.component
@pytest.mark.proof
def test_killed_holder_is_replaced_within_the_session(broker: BrokerSettings) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", HOLDER, broker.broker_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    lease = GroupLease(broker)
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        asked = ask(broker, 0)
        with kept(lease):
            wait_for(lambda: member_count(broker, TRAINERS) == 2)
            assert not lease.held
            run.kill()
            run.wait()
            killed_s = time.monotonic()
            wait_for(lambda: lease.held, timeout_s=3 * SESSION_S)
            took_s = time.monotonic() - killed_s
            print(f"taken over after {took_s:.1f} s")
            assert took_s < SESSION_S + 5.0
            wait_for(lambda: asked in lease.requests)
    finally:
        run.kill()
        run.communicate()
        lease.close()


def test_mark_survives_the_metadata_of_an_offset() -> None:
    mark = Mark(1, 2)
    assert msgspec.json.decode(msgspec.json.encode(mark).decode(), type=Mark) == mark
