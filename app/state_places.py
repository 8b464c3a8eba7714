"""Where the tables stand: each worker's folders beside the changelogs that they are filled from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from agents.changelogs import Place, Verdict, is_plain, judge, mark_key
from app.state_folder import folder_of, tables_of, workers
from redpanda.admin import connect, end_offsets, last_by_key
from redpanda.errors import ConfigError
from redpanda.scan import bounds
from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLE_STATE, CANDLES, CANDLES_LIVE, FEATURE_STATE, FEATURES, GROUP, TRADES, changelog
from tables import rocks

__all__ = ["OUTPUTS", "SOURCES", "Choice", "Standing", "choose_worker", "look", "places", "verdict_of"]

SOURCES: Final = {CANDLE_STATE: TRADES, FEATURE_STATE: CANDLES}
"""Table to the topic whose committed offsets its rows go with."""
OUTPUTS: Final = {CANDLE_STATE: (CANDLES, CANDLES_LIVE), FEATURE_STATE: (FEATURES,)}
"""Table to the topics that its stage sends to."""
OPEN_TRIES: Final = 3


class Choice(msgspec.Struct, frozen=True):
    """Which folders a command is about; None for all."""

    table: str | None = None
    partition: int | None = None

    def matches(self, table: str, partition: int) -> bool:
        return self.table in (None, table) and self.partition in (None, partition)


class Standing(msgspec.Struct):
    """One partition of one table of one worker."""

    worker: str
    table: str
    partition: int
    keys: int = 0
    bytes: int = 0
    """Keys and values as they are, without what RocksDB adds or packs."""
    reached: int | None = None
    """Changelog offset up to which the folder is filled."""
    first: int | None = None
    """First offset that the changelog still has; None where no broker was asked."""
    end: int | None = None
    """Offset that its next record gets."""
    damage: str = ""

    @property
    def behind(self) -> int | None:
        """Records of the changelog that the folder lacks."""
        return None if self.end is None else max(0, self.end - 1 - (-1 if self.reached is None else self.reached))


def choose_worker(home: Path, name: str | None) -> str:
    """Give the worker that is meant: the named one, or the only one.

    Raises
    ------
    ConfigError
        There is none, or more than one.

    """
    known = workers(home)
    if name is not None and name in known:
        return name
    if not known:
        raise ConfigError(
            f"no worker has kept state below {home / 'worker'}: set TICKCAST_HOME or --home to its folder"
        )
    if name is not None:
        raise ConfigError(f"--worker {name}: {home / 'worker'} has only {', '.join(known)}")
    if len(known) > 1:
        raise ConfigError(f"--worker: say which of {', '.join(known)}")
    return known[0]


def look(home: Path, worker: str, choice: Choice) -> list[Standing]:
    """Read what lies in a worker's folders, also while it runs."""
    found = []
    for folder in rocks.folders(tables_of(folder_of(home, worker))):
        if not choice.matches(folder.table, folder.partition):
            continue
        one = Standing(worker, folder.table, folder.partition)
        try:
            db = open_to_read(folder.path)
            for key, value in rocks.rows(db):
                one.keys += 1
                one.bytes += len(key) + len(value)
            one.reached = rocks.offset_of(db)
            db.close()
        except Exception as error:
            if not rocks.is_damage(error):
                raise
            one.damage = " ".join(str(error).split())[:200]
        found.append(one)
    return found


def open_to_read(path: Path) -> Any:
    """Open a folder that a worker may be writing to; its files may go while they are being opened."""
    for _ in range(OPEN_TRIES - 1):
        try:
            return rocks.open_folder(path, read_only=True)
        except Exception as error:
            if not rocks.is_damage(error):
                raise
    return rocks.open_folder(path, read_only=True)


def places(broker: BrokerSettings, standings: list[Standing]) -> None:
    """Ask the broker where the changelogs begin and end, and write it into `standings`.

    Raises
    ------
    UnreachableError
        The broker does not answer.

    """
    for table in sorted({one.table for one in standings}):
        mine = [one for one in standings if one.table == table]
        found = bounds(broker, changelog(table), {one.partition for one in mine})
        for one in mine:
            one.first, one.end = found[one.partition]


def verdict_of(broker: BrokerSettings, one: Standing, reached: int | None) -> tuple[Verdict, str]:
    """Judge a partition as a worker does before recovery, for a folder that ends at `reached`."""
    place = Place(reached, one.first or 0, one.end or 0)
    if is_plain(place):
        return Verdict.READ, ""
    with connect(broker) as admin:
        offsets = admin.list_group_offsets(GROUP).get(GROUP, {})
    committed = next(
        (
            found.offset
            for tp, found in offsets.items()
            if (tp.topic, tp.partition) == (SOURCES[one.table], one.partition)
        ),
        None,
    )
    key = mark_key(one.partition)
    ends = end_offsets(broker, OUTPUTS[one.table])
    return judge(
        place._replace(committed=committed),
        marked=bool(last_by_key(broker, changelog(one.table), [key])),
        has_outputs=any(ends[topic, one.partition] > 0 for topic in OUTPUTS[one.table]),
    )
