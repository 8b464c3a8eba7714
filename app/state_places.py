"""Where the tables stand: each worker's folders beside the changelogs that they are filled from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from agents.changelogs import Facts, Place, Verdict, is_plain, judge
from app.state_folder import folder_of, holder, tables_of, workers
from redpanda.errors import ConfigError
from redpanda.groups import committed_offsets
from redpanda.scan import bounds
from redpanda.settings import BrokerSettings
from redpanda.topics import (
    CANDLE_STATE,
    CANDLES,
    CANDLES_LIVE,
    EXPENDABLE,
    FEATURE_STATE,
    FEATURES,
    FORECAST_ERRORS,
    FORECASTS,
    GROUP,
    ROLLING_STATE,
    SCORE_STATE,
    TRADES,
    changelog,
)
from tables import rocks

__all__ = ["OUTPUTS", "SOURCES", "Choice", "Standing", "choose_worker", "look", "path_of", "places", "verdict_of"]

SOURCES: Final = {
    CANDLE_STATE: TRADES,
    FEATURE_STATE: CANDLES,
    SCORE_STATE: FORECASTS,
    ROLLING_STATE: FORECAST_ERRORS,
}
"""Table to the topic whose committed offsets its rows go with."""
OUTPUTS: Final[dict[str, tuple[str, ...]]] = {
    CANDLE_STATE: (CANDLES, CANDLES_LIVE),
    FEATURE_STATE: (FEATURES,),
    SCORE_STATE: (FORECAST_ERRORS,),
    ROLLING_STATE: (),
}
"""Table to the topics that its stage sends to."""
SHOWN_CHARS: Final = 200


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
    folder = folder_of(home, worker)
    running = holder(folder) not in (None, os.getpid())
    return [
        _look_at(worker, one, running=running)
        for one in rocks.folders(tables_of(folder))
        if choice.matches(one.table, one.partition)
    ]


def path_of(home: Path, one: Standing) -> Path:
    """Give the folder of a partition."""
    return tables_of(folder_of(home, one.worker)) / f"{one.table}-{one.partition}.db"


def _look_at(worker: str, folder: rocks.Folder, *, running: bool) -> Standing:
    one = Standing(worker, folder.table, folder.partition)
    try:
        # Of files that a worker is changing only RocksDB itself can tell.
        one.damage = "" if running else rocks.damage(folder.path)
        if not one.damage:
            with rocks.reading(folder.path) as db:
                for key, value in rocks.rows(db):
                    one.keys += 1
                    one.bytes += len(key) + len(value)
                one.reached = rocks.offset_of(db)
    except rocks.DamagedStateError as error:
        one.damage = str(error.__cause__)
    one.damage = " ".join(one.damage.split())[:SHOWN_CHARS]
    return one


def places(broker: BrokerSettings, standings: list[Standing]) -> None:
    """Ask the broker where the changelogs begin and end, and write it into `standings`.

    A worker without the stage of scores has no changelog of them: those stay as they are.

    Raises
    ------
    ConfigError
        The changelog of a table that cannot be learned again does not exist.
    UnreachableError
        The broker does not answer.

    """
    for table in sorted({one.table for one in standings}):
        mine = [one for one in standings if one.table == table]
        try:
            found = bounds(broker, changelog(table), {one.partition for one in mine})
        except ConfigError:
            if table in EXPENDABLE:
                continue
            raise
        for one in mine:
            one.first, one.end = found[one.partition]


def verdict_of(broker: BrokerSettings, one: Standing, reached: int | None) -> tuple[Verdict, str]:
    """Judge a partition as a worker does before recovery, for a folder that ends at `reached`."""
    place = Place(reached, one.first or 0, one.end or 0)
    if is_plain(place):
        return Verdict.READ, ""
    facts, topic = Facts(broker), changelog(one.table)
    tally = facts.tally(topic, one.partition)
    return judge(
        place._replace(committed=committed_offsets(broker, GROUP).get((SOURCES[one.table], one.partition))),
        mark=tally.mark,
        whole=tally.is_whole,
        has_outputs=facts.has_records(OUTPUTS[one.table], one.partition),
        expendable=one.table in EXPENDABLE,
    )
