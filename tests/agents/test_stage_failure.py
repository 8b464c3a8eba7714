"""A fault that is no bad record ends the worker: never a stream that stands still behind a green light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaProducer

from redpanda.admin import connect
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import NEWS
from tests.support.worker import ROOT, own_broker

pytestmark = pytest.mark.component
__all__ = ["own_broker"]


def test_stage_that_raises_ends_the_worker_and_commits_nothing(tmp_path: Path, own_broker: BrokerSettings) -> None:
    producer = KafkaProducer(bootstrap_servers=own_broker.broker_url, acks="all")
    producer.send(NEWS, key=b"BTC/USD", value=b"{}")
    producer.flush()
    producer.close()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TICKCAST_BROKER_URL": own_broker.broker_url,
        "TICKCAST_WORKER_PORT": str(free_port()),
        "TICKCAST_SESSION_TIMEOUT_S": "6",
    }
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("failing_worker.py")), str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode != 0
    assert "cannot fold 1 records" in ended.stderr
    with connect(own_broker) as admin:
        committed = admin.list_group_offsets("tickcast").get("tickcast", {})
    assert not [partition for partition in committed if partition.topic == NEWS]
