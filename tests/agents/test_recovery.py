"""Recovery on a real broker, by a worker process with one table: the folder becomes what the changelog says."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from agents.changelogs import mark_key
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from tables import rocks
from tests.support.recovery_table import Table, recovered, stop
from tests.support.recovery_worker import DEADLINE_S
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.component, pytest.mark.proof]


@pytest.fixture
def table(
    request: pytest.FixtureRequest, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient, tmp_path: Path
) -> Iterator[Table]:
    made = Table(f"rec-{abs(hash(request.node.name)) % 10**9}", broker_settings, broker_admin, tmp_path / "worker")
    made.folder.mkdir()
    yield made
    made.close()


@pytest.fixture
def draw(seed: int) -> random.Random:
    return random.Random(seed)


def test_folder_holds_the_last_value_of_every_key_and_the_offset_of_the_end(table: Table, draw: random.Random) -> None:
    table.send_many(5_000, draw)
    table.send(1, mark_key(1), b"{}")
    table.rows[1].pop(mark_key(1))
    table.send_many(200, draw)
    table.recover()
    table.assert_whole()


def test_start_with_an_intact_folder_writes_nothing(table: Table, draw: random.Random) -> None:
    table.send_many(2_000, draw)
    table.recover()
    before = table.found()
    table.recover()
    assert table.found() == before


def test_only_what_came_since_is_applied(table: Table, draw: random.Random) -> None:
    table.send_many(3_000, draw)
    table.recover()
    writes = sum(writes for _, _, writes in table.found().values())
    fresh = [(partition, b"fresh-%d" % at) for partition in range(4) for at in range(5)]
    for partition, key in fresh:
        table.send(partition, key, b"new")
    table.producer.flush()
    table.recover()
    table.assert_whole()
    # One batch a partition: its rows and its offset.
    assert sum(writes for _, _, writes in table.found().values()) - writes == len(fresh) + 4


def test_recovery_ends_where_the_last_offsets_carry_no_record(table: Table, draw: random.Random) -> None:
    """The end of a changelog can hold no record: a transaction's marker, or a tombstone that compaction took away."""
    table.send_many(500, draw)
    producer = KafkaProducer(
        bootstrap_servers=table.broker.broker_url, acks="all", transactional_id=table.name, enable_idempotence=True
    )
    producer.init_transactions()
    producer.begin_transaction()
    for partition in range(4):
        producer.send(table.changelog, key=b"last", value=b"of a transaction", partition=partition)
        table.rows[partition][b"last"] = b"of a transaction"
        table.ends[partition] += 2
    producer.commit_transaction()
    producer.close()
    table.recover()
    table.assert_whole()


def test_rebalances_during_recovery_leave_whole_folders(table: Table, tmp_path: Path) -> None:
    table.send_keys(300_000)
    folders = [tmp_path / "worker", tmp_path / "second"]
    folders[1].mkdir()
    first, second = table.start(folders[0]), None
    try:
        wait_for(lambda: "Restoring state" in table.log(), 60)
        second = table.start(folders[1])
        ready = [recovered(process)["partitions"] for process in (first, second)]
        while sorted(ready[0] + ready[1]) != [0, 1, 2, 3]:  # the first line of the first may be of the time before
            ready[0] = recovered(first)["partitions"]
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                stop(process)
    for folder, mine in zip(folders, ready, strict=True):
        found = table.found(folder)
        for partition in mine:
            rows, offset, _ = found[partition]
            assert rows == table.rows[partition]
            assert offset == table.ends[partition] - 1


def test_truncated_head_ends_the_worker_that_lacks_it(table: Table, draw: random.Random) -> None:
    table.send_many(2_000, draw)
    table.commit_source(1)
    table.drop_before(2, 100)
    log = table.fails()
    assert f"the changelog {table.changelog} has lost rows of partition 2 (it begins at 100" in log
    assert "tickcast rebuild" in log


def test_truncated_head_does_no_harm_where_no_key_is_missing(table: Table, draw: random.Random) -> None:
    table.send_many(200, draw)
    keys = [*table.rows[2], *(b"new-%d" % at for at in range(20))]
    for value in (b"old", b"new"):
        for key in keys:
            table.send(2, key, value, rows=len(table.rows[2].keys() | {key}))
    table.producer.flush()
    table.commit_source(1)
    first = table.ends[2] - len(keys)
    table.drop_before(2, first)
    table.recover()
    table.assert_whole()
    assert f"it begins at {first} and the folder ends at nothing, and it still has all rows" in table.log()
    rocks.wipe(table.folder / "v1" / "tables" / "table-2.db")
    table.drop_before(2, first + 1)
    assert f"it begins at {first + 1} and the folder ends at nothing" in table.fails()


def test_truncated_head_does_no_harm_to_a_worker_that_has_it(table: Table, draw: random.Random) -> None:
    table.send_many(2_000, draw)
    table.recover()
    table.commit_source(1)
    table.drop_before(2, table.ends[2] - 5)
    table.send_many(100, draw)
    table.recover()
    table.assert_whole()


def test_folder_that_ends_before_the_truncated_head_ends_the_worker(table: Table, draw: random.Random) -> None:
    table.send_many(1_000, draw)
    table.recover()
    table.commit_source(1)
    old = table.ends[0]
    table.send_many(1_000, draw)
    table.drop_before(0, old + 50)
    before = table.found()
    assert f"it begins at {old + 50} and the folder ends at {old - 1}" in table.fails()
    assert table.found()[0] == before[0]


def test_mark_of_a_rebuild_makes_a_truncated_changelog_whole(table: Table, draw: random.Random) -> None:
    table.send_many(1_000, draw)
    table.recover()
    table.commit_source(1)
    table.drop_before(1, -1)
    table.rows[1] = {}
    table.send(1, b"rebuilt", b"row")
    table.send(1, mark_key(1), b"{}", rows=1)
    table.rows[1].pop(mark_key(1))
    table.producer.flush()
    folder = table.folder / "v1" / "tables" / "table-1.db"
    rocks.wipe(folder)
    table.recover()
    table.assert_whole()
    # A log that has lost its newest records: a mark that the folder has seen does not vouch for it.
    db = rocks.open_folder(folder)
    rocks.write(db, {}, 5_000)
    db.close()
    assert "the folder was filled up to 5000" in table.fails()
    table.send(1, mark_key(1), b"again", rows=1)
    table.rows[1].pop(mark_key(1))
    table.producer.flush()
    table.recover()
    table.assert_whole()
    assert "the rows were rebuilt since" in table.log()


def test_emptied_changelog_ends_the_worker_once_records_were_processed(table: Table) -> None:
    table.commit_source(1)
    assert "it is empty, and 1 records of the source were processed" in table.fails()


def test_empty_changelog_of_a_new_group_is_no_fault(table: Table) -> None:
    table.recover()
    assert [(rows, reached) for rows, reached, _ in table.found().values()] == [({}, None)] * 4


def test_folder_of_another_brokers_data_is_filled_again(table: Table, draw: random.Random) -> None:
    table.send_many(1_000, draw)
    table.recover()
    for one in rocks.folders(table.folder / "v1" / "tables"):
        db = rocks.open_folder(one.path)
        rocks.write(db, {b"of another world": b"row"}, 5_000)
        db.close()
    table.recover()
    table.assert_whole()
    assert "the folder belongs to another broker's data" in table.log()


def test_folder_beyond_the_end_is_kept_and_ends_the_worker(table: Table, draw: random.Random) -> None:
    table.send_many(1_000, draw)
    table.recover()
    table.commit_source(1)
    path = table.folder / "v1" / "tables" / "table-3.db"
    db = rocks.open_folder(path)
    rocks.write(db, {b"not in the changelog": b"row"}, 5_000)
    db.close()
    assert f"it ends at {table.ends[3]} and the folder was filled up to 5000" in table.fails()
    assert b"not in the changelog" in table.found()[3][0]


def test_damaged_folders_are_filled_again(table: Table, draw: random.Random) -> None:
    table.send_many(4_000, draw)
    table.recover()
    for damages in (("CURRENT", 0.0), ("MANIFEST", 0.5), ("SST", 0.0), ("SST", 0.5)), (("LOG", 0.5), ("MANIFEST", 0.0)):
        for partition, (kind, share) in enumerate(damages):
            cut(table.folder / "v1" / "tables" / f"table-{partition}.db", kind, share)
        table.recover()
        table.assert_whole()
    assert table.log().count("was damaged (") == 5  # half a log is an older folder, and not a damaged one


def cut(folder: Path, kind: str, share: float) -> None:
    """Cut the newest file of a kind to a share of its length; where rows lie in a log only, they are flushed first."""
    if kind == "SST":
        db = rocks.open_folder(folder)
        db.flush()
        db.close()
    files = sorted(folder.glob({"SST": "*.sst", "LOG": "*.log"}.get(kind, f"{kind}*")))
    os.truncate(files[-1], int(files[-1].stat().st_size * share))


def test_recovery_that_does_not_move_is_given_up_and_leaves_an_honest_folder(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "worker").mkdir()
    with LocalBroker(tmp_path / "kafka", free_port()) as running:
        admin = KafkaAdminClient(bootstrap_servers=running.url)
        table = Table("stalled", BrokerSettings(broker_url=running.url), admin, tmp_path / "worker")
        try:
            table.send_keys(300_000)
            process = table.start()
            wait_for(lambda: "Restoring state" in table.log(), 60, every_s=0.005)
            assert running.pid is not None
            os.kill(running.pid, signal.SIGSTOP)
            try:
                wait_for(lambda: f"recovery has not moved for {DEADLINE_S:g} s" in table.log(), 60)
                wait_for(lambda: "Stopping..." in table.log(), 60)
            finally:
                os.kill(running.pid, signal.SIGCONT)
            process.kill()
            table.recover()
            table.assert_whole()
        finally:
            table.close()
            admin.close()
