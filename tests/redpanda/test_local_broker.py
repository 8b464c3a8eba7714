"""The local broker's life: crash, restart, end of its parent. Each test has its own process to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import psutil
import pytest
from kafka import KafkaProducer

from redpanda import admin
from redpanda.errors import ConfigError, TickcastError
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port, require_port
from redpanda.settings import BrokerSettings
from redpanda.topics import TopicSpec
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.component

SPECS = (TopicSpec("kept", "numbers", "delete", -1),)
STOP_S = 20


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker of this module's own, with one topic; every test leaves it running."""
    with LocalBroker(tmp_path_factory.mktemp("own"), free_port()) as own:
        with admin.connect(BrokerSettings(broker_url=own.url)) as client:
            admin.apply(client, BrokerSettings(broker_url=own.url), topics=SPECS)
        yield own


def _publish(broker: LocalBroker, values: range) -> None:
    """Return once every record is acknowledged."""
    with KafkaProducer(bootstrap_servers=broker.url, acks="all", linger_ms=5) as producer:
        sent = [producer.send("kept", key=b"%d" % (n % 5), value=b"%d" % n) for n in values]
        for future in sent:
            future.get(timeout=10)


def _values(broker: LocalBroker) -> list[int]:
    rows = admin.last_records(BrokerSettings(broker_url=broker.url), "kept", 1_000_000)
    return sorted(int(record.value or b"") for records in rows.values() for record in records)


def test_acknowledged_records_survive_sigkill(broker: LocalBroker) -> None:
    before = _values(broker)
    _publish(broker, range(1_000, 1_500))
    broker.kill()
    assert broker.pid is None
    broker.start()
    broker.wait_ready()
    assert _values(broker) == sorted([*before, *range(1_000, 1_500)])


def test_second_start_continues_after_a_stop_that_leaves_nothing(broker: LocalBroker) -> None:
    _publish(broker, range(2_000, 2_100))
    before, pid = _values(broker), broker.pid
    assert pid is not None
    broker.stop()
    assert not psutil.pid_exists(pid)
    require_port(broker.port)
    broker.start()
    broker.wait_ready()
    assert _values(broker) == before


def test_start_of_a_running_broker_is_nothing(broker: LocalBroker) -> None:
    pid = broker.pid
    broker.start()
    assert broker.pid == pid


def test_second_broker_on_one_folder_is_refused_and_harms_nothing(
    broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redpanda.local.broker._LOCK_WAIT_S", 0.2)
    with pytest.raises(ConfigError, match="another broker runs on"):
        LocalBroker(broker.home, free_port()).start()
    _publish(broker, range(3_000, 3_010))


def test_prune_deletes_what_nobody_declared(broker: LocalBroker) -> None:
    settings = BrokerSettings(broker_url=broker.url)
    with admin.connect(settings) as client:
        client.create_topics({"stranger": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        assert admin.apply(client, settings, prune=True, topics=SPECS).prunable == ("stranger",)
        assert admin.diff(client, settings, SPECS).prunable == ()
        assert "kept" in client.list_topics()


def test_broken_storage_is_told_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "broker" / "log"
    log.mkdir(parents=True)
    (log / "meta.properties").write_text("version=1\nnode.id=77\ncluster.id=4L6g3nShT-eMCtK--X86sw\n")
    local = LocalBroker(tmp_path, free_port())
    local.start()
    with pytest.raises(TickcastError, match=r"the local broker ended: .*see .*broker\.log"):
        local.wait_ready()
    assert not local.running
    local.stop()


@contextmanager
def _foreground(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a broker in the foreground; however the block ends, it is over then."""
    command = [sys.executable, "-m", "redpanda.local", "--home", str(home), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _ended(pid: int) -> bool:
    """Whether a process that is no child of ours runs no more; the machine may be slow to clear it away."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _ready_pid(told: IO[str] | None) -> int:
    """Read the lines up to the one that says ready and give the broker's process id."""
    assert told is not None
    line = ""
    for line in told:
        if line.startswith("broker ready"):
            return int(line.split()[-1])
    raise AssertionError(f"ended without being ready: {line}")


def test_broker_ends_with_its_killed_parent_and_the_next_start_takes_over(tmp_path: Path) -> None:
    port = free_port()
    with _foreground(tmp_path, port) as first:
        pid = _ready_pid(first.stderr)
        os.kill(first.pid, signal.SIGKILL)
    # At once: the old broker is still closing its files.
    with _foreground(tmp_path, port) as second:
        assert _ready_pid(second.stderr) != pid
        wait_for(lambda: _ended(pid))  # its lock goes before it has gone itself
        second.send_signal(signal.SIGTERM)
        assert second.wait(STOP_S) == 0
    require_port(port)


def test_foreground_run_on_a_busy_port_is_one_line(broker: LocalBroker, tmp_path: Path) -> None:
    with _foreground(tmp_path, broker.port) as process:
        _, told = process.communicate(timeout=STOP_S)
    assert process.returncode == 1
    assert len(told.splitlines()) == 1
    assert told.startswith(f"tickcast: port {broker.port} of TICKCAST_BROKER_URL is in use")
