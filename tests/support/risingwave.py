"""RisingWave's statements as PostgreSQL takes them.

Only what PostgreSQL lacks is rewritten, and in the text: sqlglot's own output would lose parts. A source becomes a
table of the same columns (and the offset that INCLUDE adds), NOW() a fixed time, and the window functions HOP and
TUMBLE the subquery that says what they mean. Materialized views are PostgreSQL's own: they are filled when they are
made, so the rows have to be there before. Sinks have no counterpart.
"""

# ruff: noqa: S608  (the SQL is put together from our own files)

from __future__ import annotations

import re
from typing import Final

from tables.risingwave.script import Piece

__all__ = ["CATALOGUE", "to_postgres"]

CATALOGUE: Final = """
CREATE SCHEMA rw_catalog;
CREATE VIEW rw_catalog.rw_schemas AS SELECT oid AS id, nspname::VARCHAR AS name FROM pg_namespace;
CREATE VIEW rw_catalog.rw_relations AS SELECT relnamespace AS schema_id, relname::VARCHAR AS name FROM pg_class
WHERE relkind IN ('r', 'v', 'm')
"""
"""The two catalogue views of RisingWave that we read, over PostgreSQL's."""
_INTERVAL: Final = r"INTERVAL\s+('[^']+')"
_HOP: Final = re.compile(rf"HOP\(\s*(\w+),\s*(\w+),\s*{_INTERVAL},\s*{_INTERVAL}\s*\)")
_TUMBLE: Final = re.compile(rf"TUMBLE\(\s*(\w+),\s*(\w+),\s*{_INTERVAL}\s*\)")
_COLUMNS: Final = re.compile(r"\(\n(.*?)\n\)", re.DOTALL)
_ORIGIN: Final = "TIMESTAMPTZ '1970-01-01 00:00:00+00'"


def to_postgres(piece: Piece, now: str = "") -> str:
    """Rewrite a source or view; empty for a sink.

    Parameters
    ----------
    now
        What NOW() gives; empty: the database's own.
    """
    if piece.kind == "SINK":
        return ""
    if piece.kind == "SOURCE":
        columns = _COLUMNS.search(piece.sql)
        assert columns is not None
        offset = ",\n log_offset VARCHAR" if "INCLUDE offset AS log_offset" in piece.sql else ""
        return f"CREATE TABLE {piece.name} (\n{columns[1]}{offset}\n)"
    sql = piece.sql.replace("NOW()", f"TIMESTAMPTZ '{now}'") if now else piece.sql
    return _HOP.sub(_hop, _TUMBLE.sub(_tumble, sql))


def _hop(found: re.Match[str]) -> str:
    """Every window of `size` that starts at a multiple of `step` and holds the row's time."""
    table, column, step, size = found.groups()
    last = f"date_bin({step}::INTERVAL, {column}, {_ORIGIN})"
    return (
        f"(SELECT {table}.*, window_start, window_start + {size}::INTERVAL AS window_end FROM {table}, "
        f"generate_series({last} - {size}::INTERVAL + {step}::INTERVAL, {last}, {step}::INTERVAL) AS window_start) "
        f"AS windows"
    )


def _tumble(found: re.Match[str]) -> str:
    table, column, size = found.groups()
    start = f"date_bin({size}::INTERVAL, {column}, {_ORIGIN})"
    return (
        f"(SELECT {table}.*, {start} AS window_start, {start} + {size}::INTERVAL AS window_end FROM {table}) AS windows"
    )
