"""Chunks over rebalances: every record is handled, and none before the one in front of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaProducer

from redpanda.admin import end_offsets
from redpanda.settings import BrokerSettings
from redpanda.topics import NEWS
from tests.support.waiting import wait_for
from tests.support.worker import Worker, own_broker

pytestmark = [pytest.mark.component, pytest.mark.proof]
__all__ = ["own_broker"]

SCRIPT = Path(__file__).with_name("slow_seek_worker.py")


@contextmanager
def flowing(broker: BrokerSettings) -> Iterator[None]:
    """Publish to every partition of `news` all the time."""
    ending = threading.Event()
    producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all")

    def publish() -> None:
        while not ending.wait(0.01):
            for partition in range(broker.partitions):
                producer.send(NEWS, b"{}", partition=partition)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        producer.flush()
        producer.close()


def handled(home: Path) -> list[tuple[int, int, int, int]]:
    """Give generation, partition, first and next offset of every chunk that a worker has handled."""
    file = home / "handled.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in (line.split() for line in lines)]


def test_nothing_is_passed_over_when_workers_come_and_go(tmp_path: Path, own_broker: BrokerSettings) -> None:
    homes = [tmp_path / "first", tmp_path / "second"]
    for home in homes:
        home.mkdir()
    first, second = (Worker(home, own_broker.broker_url, script=SCRIPT) for home in homes)
    first.start()
    try:
        with flowing(own_broker):
            wait_for(lambda: handled(homes[0]), 90)
            second.start()
            wait_for(lambda: handled(homes[1]), 90)
            second.stop()
            shared = max(generation for generation, *_ in handled(homes[1]))
            wait_for(lambda: {one for number, one, *_ in handled(homes[0]) if number > shared} == set(range(4)), 90)
        ends = end_offsets(own_broker, [NEWS])
        wait_for(lambda: {(NEWS, one): following for _, one, _, following in handled(homes[0])} == ends, 30)
    finally:
        first.close()
        second.close()
    reached = dict.fromkeys(range(own_broker.partitions), 0)
    for _, partition, begin, following in sorted(one for home in homes for one in handled(home)):
        assert begin <= reached[partition], f"{begin - reached[partition]} records of {NEWS}-{partition} are left out"
        reached[partition] = max(reached[partition], following)
