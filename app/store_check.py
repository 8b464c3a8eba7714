"""Whether the store has every row that the topics told and the sinks committed: `tickcast store verify --topics`.

A sink commits a record after its insert, so what lies below the committed offset is in the table, in the told version
or a later one. Keys and versions are compared one by one, not counted.
"""

from __future__ import annotations

import time
from array import array
from collections import defaultdict
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

__all__ = ["REBUILT", "SINKS", "Checked", "SinkKeys", "check"]

Ints = npt.NDArray[np.int64]
_TAIL_BITS: Final = 20
_NANOSECONDS: Final = "DateTime64(9"


class SinkKeys(NamedTuple):
    """What identifies the rows that one sink writes; columns of the table."""

    topic: str
    table: str
    record: Any
    group: tuple[str, ...]
    """Rows that are compared in one question."""
    key: str
    """With `group` and `tail` all columns of the table's key (integer or time)."""
    version: str = ""
    """The greater one stays; empty where the key is all."""
    tail: str = ""
    """One more column of the key, an integer whose last twenty bits are enough beside a time in ms; empty: none."""


SINKS: Final = (
    SinkKeys(topics.CANDLES, "candles", Candle, ("pair", "timeframe"), "open_time", "as_of"),
    SinkKeys(topics.FEATURES, "features", Features, ("pair", "timeframe"), "open_time", "as_of"),
    SinkKeys(topics.FORECASTS, "forecasts", Forecast, ("pair", "horizon_s", "model", "revision"), "feature_open"),
    SinkKeys(
        topics.FORECAST_ERRORS,
        "forecast_errors",
        ForecastError,
        ("pair", "horizon_s", "model", "model_version"),
        "feature_open",
        "outcome_revision",
    ),
    SinkKeys(topics.ALERTS, "alerts", Alert, ("pair", "name", "horizon_s", "raised"), "at"),
    SinkKeys(topics.HOLES, "holes", Hole, ("pair",), "first_id", "at"),
    SinkKeys(topics.TRADES_LATE, "late_trades", LateTrade, ("pair", "source"), "trade_id"),
    SinkKeys(topics.MODELS, "models", ModelInService, ("horizon_s", "model", "model_version", "worker"), "at"),
    SinkKeys(
        topics.DEAD_LETTERS,
        "dead_letters",
        DeadLetter,
        ("stage", "reason", "topic", "partition", "pair"),
        "at",
        tail="offset",
    ),
)


REBUILT: Final = frozenset((topics.CANDLES, topics.FEATURES))
"""What `tickcast rebuild` computes again from the trades."""


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


class _Group:
    """Rows of one group as they were told: key, version, and the time that a time to live counts from (ms)."""

    def __init__(self) -> None:
        self.columns = (array("q"), array("q"), array("q"))

    def add(self, *values: int) -> None:
        found = [array("q", (value,)) for value in values]  # all or none: one of them may be too large
        for column, one in zip(self.columns, found, strict=True):
            column.extend(one)

    def newest(self) -> tuple[Ints, Ints, Ints]:
        keys, versions, times_ms = (np.array(column, np.int64) for column in self.columns)
        return newest(keys, versions, times_ms)


class _Told:
    """What a topic told, by group."""

    def __init__(self, sink: SinkKeys) -> None:
        columns = {column.name: column for column in TABLES[sink.table]}

        def field(name: str) -> Callable[[Any], Any]:
            return attrgetter(columns[name].field) if name else lambda _record: 0

        self._group = [field(name) for name in sink.group]
        self._key, self._version, self._tail = field(sink.key), field(sink.version), field(sink.tail)
        self._has_tail = bool(sink.tail)
        aged = TTL_COLUMNS.get(sink.table, "")
        self._age = field(aged)
        self._age_unit = 1_000_000 if aged and columns[aged].type.startswith(_NANOSECONDS) else 1
        self.groups: dict[tuple[Any, ...], _Group] = defaultdict(_Group)

    def add(self, record: Any) -> None:
        key = self._key(record)
        if self._has_tail:
            key = (key << _TAIL_BITS) + (self._tail(record) & ((1 << _TAIL_BITS) - 1))
        group = self.groups[tuple(field(record) for field in self._group)]
        group.add(key, self._version(record), self._age(record) // self._age_unit)


def newest(keys: Ints, versions: Ints, times_ms: Ints) -> tuple[Ints, Ints, Ints]:
    """Give sorted keys [n], each once, and with each its greatest version [n] and the time of that [n] (ms)."""
    order = np.lexsort((versions, keys))
    keys, versions, times_ms = keys[order], versions[order], times_ms[order]
    last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.zeros(0, bool)
    return keys[last], versions[last], times_ms[last]


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
    oldest_ms = _oldest_ms(settings, sink)
    for group, rows in told.groups.items():
        keys, versions, aged_ms = rows.newest()
        kept = aged_ms >= oldest_ms
        found.expired += int((~kept).sum())
        found.rows += int(kept.sum())
        if kept.any():
            _compare(client, sink, group, keys[kept], versions[kept], found)
    tell(sink.topic, 0, 0)
    return found


def _oldest_ms(settings: StoreSettings, sink: SinkKeys) -> int:
    """Give the time from which on rows must be there: a day later than the time to live says, merges being free."""
    days: int = getattr(settings, f"store_ttl_days_{sink.table}") if sink.table in TTL_COLUMNS else 0
    return time.time_ns() // 1_000_000 - (days - 1) * DAY_MS if days else np.iinfo(np.int64).min


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
        key = int(keys[wrong[0]])
        found.example = f"{' '.join(map(str, group))} {sink.key} {key >> _TAIL_BITS if sink.tail else key}"


def _stored(client: Client, sink: SinkKeys, group: tuple[Any, ...], low: int, high: int) -> tuple[Ints, Ints]:
    columns = {column.name: column for column in TABLES[sink.table]}
    key = _as_int(columns[sink.key])
    if sink.tail:
        key = f"{key} * {1 << _TAIL_BITS} + bitAnd(toInt64({sink.tail}), {(1 << _TAIL_BITS) - 1})"
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
    return np.array(ks, np.int64), np.array(vs, np.int64)  # of one key there is one row: FINAL


def _as_int(column: Column) -> str:
    if column.type.startswith(_NANOSECONDS):
        return f"toUnixTimestamp64Nano({column.name})"
    return (
        f"toUnixTimestamp64Milli({column.name})" if column.type.startswith("DateTime64") else f"toInt64({column.name})"
    )
