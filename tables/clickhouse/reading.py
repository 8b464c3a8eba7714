"""What all readers share: column lists of the records, time bounds, one way to ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from redpanda.errors import BadInputError
from tables.clickhouse.client import store_errors
from tables.clickhouse.columns import TABLES
from tables.records import TIMEFRAME_MS

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["MAX_LIMIT", "SETTINGS", "bounds", "clamped", "known_timeframe", "record_columns", "select_rows", "within"]

MAX_LIMIT: Final = 100_000
"""Most rows of one answer (count)."""
LAST_MS: Final = 10_413_791_999_999  # the end of DateTime64: 2299-12-31
# The partition follows from the key, so FINAL need not look across partitions.
SETTINGS: Final = {"do_not_merge_across_partitions_select_final": 1}


def record_columns(table: str, struct: type[msgspec.Struct], without: Sequence[str] = ()) -> str:
    """List the columns of a record in the order of its fields, times as ms."""
    by_field = {column.field: column for column in TABLES[table]}
    parts = (by_field[name] for name in struct.__struct_fields__ if name not in without)
    return ", ".join(
        f"toUnixTimestamp64Milli({part.name})" if part.type.startswith("DateTime64") else part.name for part in parts
    )


def within(column: str) -> str:
    """Give the condition that a time column lies in [from_ms, to_ms), both parameters."""
    return (
        f"{column} >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC') "
        f"AND {column} < fromUnixTimestamp64Milli({{to_ms:Int64}}, 'UTC')"
    )


def select_rows(client: Client, sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
    """Ask a table whose key decides the partition."""
    with store_errors("reading the store"):
        return client.query(sql, parameters=parameters, settings=SETTINGS).result_rows


def known_timeframe(timeframe: str) -> str:
    """Refuse a timeframe that does not exist."""
    if timeframe not in TIMEFRAME_MS:
        raise BadInputError(f"timeframe {timeframe!r} is unknown: use one of {', '.join(TIMEFRAME_MS)}")
    return timeframe


def bounds(from_ms: int, to_ms: int, limit: int) -> dict[str, int]:
    """Make the parameters of `within` and the limit, within what the store can hold."""
    if not 1 <= limit <= MAX_LIMIT:
        raise BadInputError(f"limit {limit} is out of bounds: use 1 to {MAX_LIMIT}")
    return {"from_ms": clamped(from_ms), "to_ms": clamped(to_ms), "limit": limit}


def clamped(time_ms: int) -> int:
    """Bring a time into the range of the store."""
    return min(max(time_ms, 0), LAST_MS)
