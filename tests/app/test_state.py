"""`tickcast state` on changelogs of a real broker and on RocksDB folders that the tests fill, break and delete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.cli.errors import EXIT_OPERATOR, explain
from app.state_folder import folder_of, hold, tables_of
from redpanda.admin import apply, connect
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLE_STATE, FEATURE_STATE, changelog
from tables import rocks
from tables.candles import CandleRules, PairCandles
from tables.candles.state import state_key
from tables.records import Trade
from tests.support.changelog import cut_head
from tests.support.rows import publish_rows

pytestmark = pytest.mark.component

PAIR = "BTC/USD"
TABLES = (CANDLE_STATE, FEATURE_STATE)
Rows = dict[str, dict[int, dict[bytes, bytes]]]
"""By table and partition."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerSettings]:
    with LocalBroker(tmp_path_factory.mktemp("kafka"), free_port()) as running:
        settings = BrokerSettings(broker_url=running.url)
        with connect(settings) as admin:
            apply(admin, settings)
        yield settings


class Case:
    """Changelogs with three rows a partition, one of them twice, and the home of a worker."""

    def __init__(self, home: Path, broker: BrokerSettings) -> None:
        self.home = home
        self.broker = broker
        self.rows: Rows = {}
        made = {"num_partitions": broker.partitions, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}
        with connect(broker) as admin:
            admin.create_topics({changelog(table): made for table in TABLES}, wait_for_metadata=True)
        for table in TABLES:
            rows = {number: _rows_of(table, number) for number in range(broker.partitions)}
            old = [(number, b"key-0", b"old") for number in rows]
            new = [(number, key, value) for number, mine in rows.items() for key, value in mine.items()]
            publish_rows(broker, changelog(table), [*old, *new])
            self.rows[table] = rows

    def run(self, *words: str, **environment: str) -> Result:
        """Run the command in this process: starting Python takes longer than what is tested."""
        given: dict[str, str | None] = {
            "TICKCAST_HOME": str(self.home),
            "TICKCAST_BROKER_URL": self.broker.broker_url,
            "TICKCAST_WORKER_NAME": None,
        }
        given |= environment
        return CliRunner().invoke(cli, ["state", *words], env=given)

    def done(self, *words: str, **environment: str) -> str:
        done = self.run(*words, **environment)
        assert done.exit_code == 0, done.exception
        return done.stdout

    def refused(self, *words: str) -> str:
        done = self.run(*words)
        assert done.exception is not None
        text, code = explain(done.exception)
        assert code == EXIT_OPERATOR, text
        return text

    def inspect(self) -> dict[tuple[str, int], dict[str, Any]]:
        return {(one["table"], one["partition"]): one for one in json.loads(self.done("inspect", "--json"))}

    def path(self, table: str, partition: int) -> Path:
        return tables_of(folder_of(self.home, "0")) / f"{table}-{partition}.db"

    def folders(self) -> set[tuple[str, int]]:
        return {(one.table, one.partition) for one in rocks.folders(tables_of(folder_of(self.home, "0")))}

    def on_disk(self) -> Rows:
        found: Rows = {table: {} for table in TABLES}
        for one in rocks.folders(tables_of(folder_of(self.home, "0"))):
            with rocks.reading(one.path) as db:
                found[one.table][one.partition] = dict(rocks.rows(db))
        return found


def _rows_of(table: str, partition: int) -> dict[bytes, bytes]:
    rows = {b"key-%d" % at: b"%s %d %d" % (table.encode(), partition, at) for at in range(3)}
    if table == CANDLE_STATE and partition == 0:
        fold = PairCandles(PAIR, CandleRules(), lambda _: None)
        trades = [Trade(PAIR, at, at * 30_000_000_000, 100.0 + at, 0.5, "buy", "market", "sim") for at in (1, 2, 3, 7)]
        fold.apply(trades, 1 << 62, 1)
        row = fold.settle().row
        assert row is not None
        rows[state_key(PAIR)] = row
        rows[b"OLD/USD"] = bytes([0x93, 3, 0, 0])  # format 3
    return rows


@pytest.fixture
def case(tmp_path: Path, broker: BrokerSettings) -> Iterator[Case]:
    yield Case(tmp_path, broker)
    with connect(broker) as admin:
        admin.delete_topics([changelog(table) for table in TABLES])


def test_rebuild_fills_a_missing_folder_and_inspect_shows_it_whole(case: Case) -> None:
    assert "set TICKCAST_HOME or --home" in case.refused("inspect")
    case.done("rebuild")
    assert case.on_disk() == case.rows
    found = case.inspect()
    assert found.keys() == {(table, number) for table in TABLES for number in range(case.broker.partitions)}
    for (table, number), one in found.items():
        rows = case.rows[table][number]
        assert one["keys"] == len(rows)
        assert one["bytes"] == sum(len(key) + len(value) for key, value in rows.items())
        assert (one["reached"], one["first"], one["behind"], one["damage"]) == (one["end"] - 1, 0, 0, "")


def test_inspect_tells_how_far_a_folder_is_behind_and_does_without_a_broker(case: Case) -> None:
    case.done("rebuild")
    publish_rows(case.broker, changelog(CANDLE_STATE), [(2, b"key-%d" % at, b"newer") for at in range(5)])
    assert {place: one["behind"] for place, one in case.inspect().items() if one["behind"]} == {(CANDLE_STATE, 2): 5}
    done = case.run("inspect", TICKCAST_BROKER_URL=f"127.0.0.1:{free_port()}")
    assert done.exit_code == 0
    assert done.stderr.startswith("note: the changelogs are left out: no broker answers")
    assert done.stdout.count("candle-state") == case.broker.partitions


def test_inspect_names_the_damaged_folder_and_shows_the_others(case: Case) -> None:
    case.done("rebuild")
    os.truncate(case.path(FEATURE_STATE, 1) / "CURRENT", 0)
    rocks.mark_damaged(case.path(CANDLE_STATE, 3), OSError("a block is broken"))
    found = case.inspect()
    assert {place for place, one in found.items() if one["damage"]} == {(FEATURE_STATE, 1), (CANDLE_STATE, 3)}
    assert found[CANDLE_STATE, 3]["damage"] == "a block is broken"
    assert found[FEATURE_STATE, 2]["keys"] == 3
    assert "0 candle-state 3: a block is broken. The next start fills it again." in case.done("inspect")
    case.done("rebuild", "--table", FEATURE_STATE, "--partition", "1")
    assert {place for place, one in case.inspect().items() if one["damage"]} == {(CANDLE_STATE, 3)}


def test_inspect_describes_a_pair_with_the_ids_that_it_lacks(case: Case) -> None:
    case.done("rebuild")
    told = json.loads(case.done("inspect", "--pair", PAIR))
    assert told["worker"] == "0"
    assert told["newest_trade"] == "1970-01-01T00:03:30.000Z"
    assert told["trade_ids"] == {
        "first": 1,
        "last": 7,
        "applied": 4,
        "missing": 3,
        "holes": [[4, 6]],
        "more_holes": 0,
    }
    assert told["windows"]["1m"]["kept"] >= 3
    assert "no worker below" in case.refused("inspect", "--pair", "XXX/USD")
    assert "has format 3 and this version of tickcast reads 4" in case.refused("inspect", "--pair", "OLD/USD")


def test_reset_deletes_what_it_names_and_only_when_it_is_told_to(case: Case) -> None:
    case.done("rebuild")
    everything = case.folders()
    assert "nothing was deleted: without a terminal to ask at, add --yes" in case.refused("reset")
    assert case.folders() == everything
    said = case.done("reset", "--table", CANDLE_STATE, "--partition", "2", "--yes")
    assert said.splitlines() == ["candle-state 2: 3 rows", "deleted 1 folders of worker 0 with 3 rows"]
    assert case.folders() == everything - {(CANDLE_STATE, 2)}
    (tables_of(folder_of(case.home, "0")) / "note.txt").write_text("kept")
    case.done("reset", "--yes")
    assert case.folders() == set()
    assert [path.name for path in tables_of(folder_of(case.home, "0")).iterdir()] == ["note.txt"]
    assert "no tables are kept there" in case.done("inspect")


def test_a_running_worker_is_left_alone(case: Case) -> None:
    case.done("rebuild")
    before = case.on_disk()
    with hold(folder_of(case.home, "0")):
        for words in (("rebuild",), ("reset", "--yes"), ("reset", "--yes", "--force")):
            assert f"(process {os.getpid()}): stop it" in case.refused(*words)
        assert len(case.inspect()) == 2 * case.broker.partitions
    assert case.on_disk() == before


def test_folder_with_the_only_copy_of_rows_is_kept(case: Case) -> None:
    case.done("rebuild")
    before = case.on_disk()
    cut_head(case.broker, changelog(CANDLE_STATE), {1: 2})
    lost = case.refused("rebuild")
    assert "has lost rows of partition 1 (it begins at 2 and the folder ends at nothing)" in lost
    assert "`tickcast rebuild`" in lost
    assert "may be their only copy" in case.refused("reset", "--yes")
    assert case.on_disk() == before
    case.done("reset", "--partition", "1", "--yes", "--force")
    assert {(table, 1) for table in TABLES}.isdisjoint(case.folders())


def test_wrong_names_are_told_with_the_right_ones(case: Case) -> None:
    assert "candle-state, feature-state" in case.refused("rebuild", "--table", "candles")
    assert "TICKCAST_WORKER_NAME='../x' is not allowed" in case.refused("rebuild", "--worker", "../x")
    case.done("rebuild", "--worker", "second")
    assert "has only second" in case.refused("inspect", "--worker", "third")
    case.done("rebuild", "--worker", "second", "--partition", "0")
    (case.home / "worker" / "first").mkdir()
    assert "--worker: say which of first, second" in case.refused("reset", "--yes")


def test_a_bar_is_shown_where_somebody_looks(case: Case) -> None:
    done = case.run("rebuild", FORCE_COLOR="1", COLUMNS="100")
    assert done.exit_code == 0
    assert "candle-state" in done.stderr
    assert "━" in done.stderr
    assert case.run("rebuild").stderr == ""
