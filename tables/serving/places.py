"""The places that features are read from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from redpanda.tail import Tail, last_by_key
from redpanda.topics import FEATURES
from tables.clickhouse.client import store_errors
from tables.features import FEATURE_NAMES
from tables.records import Features
from tables.risingwave.apply import connect

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

    from redpanda.settings import BrokerSettings
    from tables.risingwave.settings import RisingWaveSettings

__all__ = ["BrokerPlace", "RisingWavePlace", "StorePlace", "newest_of", "topic_rows"]

_DEPTH: Final = 200_000
"""Offsets of a partition that are looked through at most."""
_HEAD: Final = tuple(name for name in Features.__struct_fields__ if name != "values")


def newest_of(rows: Sequence[Features]) -> dict[int, Features]:
    """Give one row of each bar by open_ms: of the greater as_of_ms, and of equal ones the later in `rows`."""
    found: dict[int, Features] = {}
    for row in rows:
        known = found.get(row.open_ms)
        if known is None or row.as_of_ms >= known.as_of_ms:
            found[row.open_ms] = row
    return found


def topic_rows(
    settings: BrokerSettings,
    pair: str,
    timeframe: str,
    *,
    enough: Callable[[Features], bool],
    until_ms: int | None = None,
) -> list[Features]:
    """Read the end of topic `features` backwards until a row is `enough`; rows of one pair in the order of the log.

    Records that are no features are passed over: whoever consumes the topic dead-letters them.

    Parameters
    ----------
    until_ms
        Records appended later than this are left out (ms since the epoch).
    """
    decoder = msgspec.json.Decoder(Features)
    rows: dict[int, Features] = {}

    def accept(record: Tail) -> bool:
        if until_ms is not None and record.timestamp_ms > until_ms:
            return False
        with suppress(msgspec.DecodeError):  # ValidationError is one
            row = decoder.decode(record.value or b"")
            if row.timeframe == timeframe:
                rows[record.offset] = row
                return enough(row)
        return False

    last_by_key(settings, FEATURES, [pair.encode()], _DEPTH, accept)
    return [rows[offset] for offset in sorted(rows)]


class BrokerPlace:
    """The end of topic `features`: what the worker said last."""

    name = "broker"

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    def latest(self, pair: str, timeframe: str) -> Features | None:
        rows = topic_rows(self._settings, pair, timeframe, enough=lambda _: True)
        # The last record need not be the newest: after a crash older ones are said again.
        return max(newest_of(rows).values(), key=lambda row: row.open_ms, default=None)


class StorePlace:
    """ClickHouse: behind the broker by a batch of the sink."""

    name = "clickhouse"

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client

    def latest(self, pair: str, timeframe: str) -> Features | None:
        rows = self.rows(pair, timeframe, 0, limit=1)
        return rows[0] if rows else None

    def rows(self, pair: str, timeframe: str, from_ms: int, limit: int) -> list[Features]:
        """Read rows from a time on (open_ms), newest first."""
        times = {"open_ms": "toUnixTimestamp64Milli(open_time)", "as_of_ms": "toUnixTimestamp64Milli(as_of)"}
        columns = ", ".join([*(times.get(name, name) for name in _HEAD), *FEATURE_NAMES])
        sql = (
            f"SELECT {columns} FROM features FINAL WHERE pair = {{pair:String}} AND timeframe = {{timeframe:String}} "  # noqa: S608  # our own columns; values are parameters
            "AND open_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') "
            "ORDER BY open_time DESC LIMIT {limit:UInt32}"
        )
        values = {"pair": pair, "timeframe": timeframe, "from_ms": from_ms, "limit": limit}
        with store_errors("reading features"):
            found = self._client().query(sql, parameters=values).result_rows
        return [_features(row) for row in found]


def _features(row: Sequence[Any]) -> Features:
    head, values = row[: len(_HEAD)], row[len(_HEAD) :]
    known = {name: None if math.isnan(value) else value for name, value in zip(FEATURE_NAMES, values, strict=True)}
    return Features(**dict(zip(_HEAD, head, strict=True)), values=known)


class RisingWavePlace:
    """View `features_latest` of RisingWave (tables/risingwave/20_current.sql)."""

    name = "risingwave"

    def __init__(self, settings: RisingWaveSettings) -> None:
        self._settings = settings

    def latest(self, pair: str, timeframe: str) -> Features | None:
        columns = ", ".join([*_HEAD, '"values"'])
        sql = f"SELECT {columns} FROM features_latest WHERE pair = %s AND timeframe = %s"  # noqa: S608  # our own columns; values are parameters
        with connect(self._settings) as database:
            rows = database.execute(sql, [pair, timeframe]).fetchall()
        names = (*_HEAD, "values")
        return msgspec.convert(dict(zip(names, rows[0], strict=True)), Features) if rows else None
