"""Whether the store has every row that the topics told and the sinks committed: `tickcast store verify --topics`.

A sink commits a record after its insert, so what lies below the committed offset is in the table, in the told version
or a later one. Keys and versions are compared one by one, not counted.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from redpanda import topics
from redpanda.errors import ConfigError
from redpanda.groups import committed_offsets
from redpanda.scan import scan
from tables.clickhouse.client import store_errors
from tables.clickhouse.columns import TABLES, Column
from tables.clickhouse.deploy import TTL_COLUMNS
from tables.records import (
    DAY_MS,
    Alert,
    Candle,
    DeadLetter,
    Features,
    Forecast,
    ForecastError,
    Hole,
    LateTrade,
    ModelInService,
)

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from redpanda.settings import BrokerSettings
    from tables.clickhouse.settings import StoreSettings

__all__ = ["SINKS", "Checked", "SinkKeys", "check"]

Ints = npt.NDArray[np.int64]


class SinkKeys(NamedTuple):
    """What identifies the rows that one sink writes; columns of the table."""

    topic: str
    table: str
    record: Any
    group: tuple[str, ...]
    """Rows that are compared in one question; the first columns of the table's key."""
    key: str
    """Identifies a row of a group (integer or time)."""
    version: str = ""
    """The greater one stays; empty where the key is all."""


SINKS: Final = (
    SinkKeys(topics.CANDLES, "candles", Candle, ("pair", "timeframe"), "open_time", "as_of"),
    SinkKeys(topics.FEATURES, "features", Features, ("pair", "timeframe"), "open_time", "as_of"),
    SinkKeys(topics.FORECASTS, "forecasts", Forecast, ("pair", "horizon_s", "model"), "feature_open"),
    SinkKeys(
        topics.FORECAST_ERRORS,
        "forecast_errors",
        ForecastError,
        ("pair", "horizon_s", "model", "model_version"),
        "feature_open",
        "outcome_revision",
    ),
    SinkKeys(topics.ALERTS, "alerts", Alert, ("pair", "name", "horizon_s"), "at"),
    SinkKeys(topics.HOLES, "holes", Hole, ("pair",), "first_id", "at"),
    SinkKeys(topics.TRADES_LATE, "late_trades", LateTrade, ("pair", "source"), "trade_id"),
    SinkKeys(topics.MODELS, "models", ModelInService, ("horizon_s", "model", "model_version", "worker"), "at"),
    SinkKeys(topics.DEAD_LETTERS, "dead_letters", DeadLetter, ("stage", "reason", "topic"), "at"),
)


class Checked(msgspec.Struct):
    """One topic against its table."""

    topic: str
    table: str
    records: int = 0
    """Below the committed offset (count)."""
    waiting: int = 0
    """Not committed yet: the sink has them before it, or nobody runs it (count)."""
    rows: int = 0
    """Different rows that these records make (count)."""
    missing: int = 0
    """Of these, not in the table (count)."""
    older: int = 0
    """In the table in an older version (count)."""
    expired: int = 0
    """Older than the table's time to live, and not looked for (count)."""
    example: str = ""
    """The first row that is missing or older."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing or older."""
        return not (self.missing or self.older)


class _Told:
    """Keys and versions of a topic, by group."""

    def __init__(self, sink: SinkKeys) -> None:
        columns = {column.name: column for column in TABLES[sink.table]}
        self._group = attrgetter(*(columns[name].field for name in sink.group))
        self._key = attrgetter(columns[sink.key].field)
        self._version = attrgetter(columns[sink.version].field) if sink.version else lambda _record: 0
        self._one_column = len(sink.group) == 1
        self._found: dict[Any, tuple[array[int], array[int]]] = {}

    def add(self, record: Any) -> None:
        group = self._group(record)
        found = self._found.get(group)
        if found is None:
            found = self._found[group] = (array("q"), array("q"))
        version = array("q", (self._version(record),))  # one that is too large must not leave a key behind
        found[0].append(self._key(record))
        found[1].extend(version)

    def groups(self) -> list[tuple[tuple[Any, ...], Ints, Ints]]:
        """Give each group, its keys in order, each once, and the greatest version of each."""
        return [
            ((group,) if self._one_column else group, *newest(np.array(keys), np.array(versions)))
            for group, (keys, versions) in self._found.items()
        ]


def newest(keys: Ints, versions: Ints) -> tuple[Ints, Ints]:
    """Give sorted keys [n], each once, and the greatest version of each [n]."""
    order = np.lexsort((versions, keys))
    keys, versions = keys[order], versions[order]
    last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.zeros(0, bool)
    return keys[last], versions[last]


def check(
    client: Client,
    settings: StoreSettings,
    broker: BrokerSettings,
    tell: Callable[[str, int, int], None],
) -> list[Checked]:
    """Compare every sink's topic with its table; raises as `redpanda.scan.scan` and the store's clients do."""
    committed = committed_offsets(broker, topics.GROUP)
    return [_check_one(client, settings, broker, sink, committed, tell) for sink in SINKS]


def _check_one(
    client: Client,
    settings: StoreSettings,
    broker: BrokerSettings,
    sink: SinkKeys,
    committed: dict[tuple[str, int], int],
    tell: Callable[[str, int, int], None],
) -> Checked:
    found, told, decode = Checked(sink.topic, sink.table), _Told(sink), msgspec.json.Decoder(sink.record).decode

    def take(partition: int, records: Sequence[Any]) -> None:
        end = committed.get((sink.topic, partition), 0)
        for record in records:
            if record.offset >= end:
                found.waiting += 1
            elif record.value is not None:
                found.records += 1
                try:
                    told.add(decode(record.value))
                except (msgspec.DecodeError, UnicodeDecodeError, OverflowError):
                    continue  # it went to the dead letters

    spec = next(one for one in topics.TOPICS if one.name == sink.topic)
    partitions = range(spec.partitions(broker.partitions))
    beyond = [at for topic, at in committed if topic == sink.topic and at not in partitions]
    if beyond:
        raise ConfigError(
            f"topic {sink.topic} has partition {max(beyond)}, and TICKCAST_PARTITIONS is {broker.partitions}: "
            "set it to what the cluster has, or rows are not looked for"
        )
    scan(broker, sink.topic, partitions, take, lambda done, total: tell(sink.topic, done, total))
    oldest = _oldest(settings, sink)
    for group, keys, versions in told.groups():
        kept = keys >= oldest
        found.expired += int((~kept).sum())
        found.rows += int(kept.sum())
        if kept.any():
            _compare(client, sink, group, keys[kept], versions[kept], found)
    tell(sink.topic, 0, 0)
    return found


def _oldest(settings: StoreSettings, sink: SinkKeys) -> int:
    """Give the least key that the time to live leaves for sure; a day more than it says, for merges are free to."""
    days: int = getattr(settings, f"store_ttl_days_{sink.table}")
    if not days or TTL_COLUMNS[sink.table] != sink.key:
        return np.iinfo(np.int64).min
    return time.time_ns() // 1_000_000 - (days - 1) * DAY_MS


def _compare(
    client: Client, sink: SinkKeys, group: tuple[Any, ...], keys: Ints, versions: Ints, found: Checked
) -> None:
    stored_keys, stored_versions = _stored(client, sink, group, int(keys[0]), int(keys[-1]))
    at = np.searchsorted(stored_keys, keys)
    there = np.zeros(len(keys), bool)
    inside = at < len(stored_keys)
    there[inside] = stored_keys[at[inside]] == keys[inside]
    older = there.copy()
    older[there] = stored_versions[at[there]] < versions[there]
    found.missing += int((~there).sum())
    found.older += int(older.sum())
    wrong = np.flatnonzero(~there | older)
    if len(wrong) and not found.example:
        found.example = f"{' '.join(map(str, group))} {sink.key} {keys[wrong[0]]}"


def _stored(client: Client, sink: SinkKeys, group: tuple[Any, ...], low: int, high: int) -> tuple[Ints, Ints]:
    columns = {column.name: column for column in TABLES[sink.table]}
    key = _as_int(columns[sink.key])
    version = _as_int(columns[sink.version]) if sink.version else "toInt64(0)"
    conditions = " AND ".join(f"{name} = {{g{at}:{columns[name].type}}}" for at, name in enumerate(sink.group))
    sql = (
        f"SELECT {key} AS k, {version} AS v FROM {sink.table} FINAL "  # noqa: S608  # names of this repository
        f"WHERE {conditions} AND k BETWEEN {{low:Int64}} AND {{high:Int64}} ORDER BY k"
    )
    parameters = {f"g{at}": value for at, value in enumerate(group)} | {"low": low, "high": high}
    with store_errors(f"reading {sink.table}"):
        answer = client.query(sql, parameters=parameters, column_oriented=True).result_columns
    ks, vs = answer or ((), ())
    # dead letters and swaps of one moment are told apart by columns that are not compared
    return newest(np.array(ks, np.int64), np.array(vs, np.int64))


def _as_int(column: Column) -> str:
    if column.type.startswith("DateTime64(9"):
        return f"toUnixTimestamp64Nano({column.name})"
    return (
        f"toUnixTimestamp64Milli({column.name})" if column.type.startswith("DateTime64") else f"toInt64({column.name})"
    )
