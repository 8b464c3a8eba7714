"""`tickcast state reset` and `rebuild`: deleting a stopped worker's tables, and filling them from the changelogs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agents.changelogs import LostStateError, Verdict
from app.state_folder import folder_of, hold, tables_of
from app.state_places import SOURCES, Choice, Standing, look, path_of, places, verdict_of
from redpanda.errors import ConfigError
from redpanda.scan import scan
from redpanda.settings import BrokerSettings
from redpanda.topics import changelog
from tables import rocks

__all__ = ["fill", "reset"]

Tell = Callable[[str, int, int], None]
"""Takes a table, records read of its changelog and records in all."""


def reset(
    home: Path,
    worker: str,
    choice: Choice,
    broker: BrokerSettings | None,
    agree: Callable[[list[Standing]], bool],
) -> list[Standing]:
    """Delete the chosen folders of a stopped worker; its next start fills them from the changelogs.

    Parameters
    ----------
    broker
        Where to look first whether the changelogs have all that the folders have; None to delete without a look.
    agree
        Gets what would be deleted; on False nothing is.

    Raises
    ------
    ConfigError
        The worker runs, or a folder holds what its changelog has lost.
    UnreachableError
        The broker does not answer.

    """
    folder = folder_of(home, worker)
    with hold(folder):
        standings = look(home, worker, choice)
        if broker is not None:
            places(broker, standings)
            for one in standings:
                _require_whole(broker, one)
        if not standings or not agree(standings):
            return []
        for one in standings:
            rocks.wipe(path_of(home, one))
    return standings


def _require_whole(broker: BrokerSettings, one: Standing) -> None:
    verdict, reason = verdict_of(broker, one, None)
    if verdict is Verdict.LOST and one.keys:
        raise ConfigError(
            f"{changelog(one.table)} has lost rows of partition {one.partition} ({reason}) and this folder may be "
            "their only copy: keep it, or compute the rows again with `tickcast rebuild`; --force deletes it anyhow"
        )


def fill(home: Path, worker: str, choice: Choice, broker: BrokerSettings, tell: Tell) -> list[Standing]:
    """Wipe the chosen folders of a stopped worker and fill them from the changelogs, all partitions by default.

    Raises
    ------
    ConfigError
        The worker runs.
    LostStateError
        A changelog has lost rows; its folder is left as it was.
    UnreachableError
        The broker does not answer, or stops delivering.

    """
    folder = folder_of(home, worker)
    with hold(folder):
        standings = [
            Standing(worker, table, partition)
            for table in SOURCES
            for partition in range(broker.partitions)
            if choice.matches(table, partition)
        ]
        places(broker, standings)
        standings = [one for one in standings if one.end is not None]
        for one in standings:
            verdict, reason = verdict_of(broker, one, None)
            if verdict is Verdict.LOST:
                raise LostStateError(
                    f"{changelog(one.table)} has lost rows of partition {one.partition} ({reason}): compute them again "
                    "from `trades` with `tickcast rebuild`; see docs/runbooks/state.md"
                )
        for table in SOURCES:
            mine = {one.partition for one in standings if one.table == table}
            if mine:
                _fill_table(tables_of(folder), table, mine, broker, tell)
        found = look(home, worker, choice)
        places(broker, found)
        return found


def _fill_table(tables: Path, table: str, partitions: set[int], broker: BrokerSettings, tell: Tell) -> None:
    dbs = {}
    for partition in partitions:
        path = tables / f"{table}-{partition}.db"
        rocks.wipe(path)
        dbs[partition], _ = rocks.open_or_wipe(path)

    def take(partition: int, records: Sequence[Any]) -> None:
        rocks.write(dbs[partition], {record.key: record.value for record in records}, records[-1].offset)

    try:
        found = scan(broker, changelog(table), partitions, take, lambda done, total: tell(table, done, total))
        for partition, (_, end) in found.items():
            if end > 0:
                rocks.write(dbs[partition], {}, end - 1)
    finally:
        for db in dbs.values():
            db.close()
