"""Recorded trades, read a second time and in another way than the stream reads them: the judge's copy."""

from __future__ import annotations

import csv
import gzip
import math
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from redpanda.errors import BadInputError

__all__ = ["COLUMNS", "Recorded", "Row", "ns_of", "pairs_in", "read_recorded"]

COLUMNS = ("symbol", "price", "qty", "side", "ord_type", "trade_id", "timestamp")
NEEDED = ("symbol", "price", "qty", "timestamp")
LINE_CHARS = 4_096
"""A longer line is no trade."""
NUMBER = re.compile(r"\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,4})?", re.ASCII)
WHEN = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:[0-5]\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)|\d{1,19}", re.ASCII)
"""What a row may say; `--from` and `--to` take more forms."""
ID = re.compile(r"\d{1,19}", re.ASCII)
NS = 1_000_000_000
MINUTE_NS = 60 * NS
YEAR_DIGITS = 8
"""`20180513` is a day; longer numbers are ns."""
PAIR = re.compile(r"[A-Z0-9]{1,12}/[A-Z0-9]{1,12}")
SIDES = ("buy", "sell", "")
ID_END = 2**63


class Row(NamedTuple):
    """One trade, its numbers as the exact decimals of the file."""

    ts_ns: int
    trade_id: int
    price: Decimal
    qty: Decimal
    side: str


@dataclass
class Recorded:
    """What a file holds for the asked pairs and times."""

    trades: dict[str, list[Row]] = field(default_factory=dict)
    rows: int = 0
    """Rows of the asked pairs and times, broken and repeated ones included (count)."""
    broken: int = 0
    repeated: int = 0
    """Rows whose trade_id came before in its pair (count)."""


def pairs_in(file: Path) -> tuple[str, ...]:
    """Give all pairs of a file, in order of their first row."""
    return tuple(symbol for symbol in dict.fromkeys(row["symbol"] for row in _rows(file)) if PAIR.fullmatch(symbol))


def read_recorded(file: Path, pairs: tuple[str, ...], from_ns: int | None, to_ns: int | None) -> Recorded:
    """Read the trades of `pairs` in [from_ns, to_ns).

    A row without an id gets the number after the one before it in its pair, from 1; a broken row takes none.
    """
    found = Recorded({pair: [] for pair in pairs})
    seen: dict[str, set[int]] = {pair: set() for pair in pairs}
    number = dict.fromkeys(pairs, 0)
    for row in _rows(file):
        pair = row["symbol"]
        if pair not in seen:
            continue
        try:
            trade = _trade(row, number[pair] + 1)
        except ValueError:
            found.rows += 1
            found.broken += 1
            continue
        number[pair] = trade.trade_id
        if (from_ns is not None and trade.ts_ns < from_ns) or (to_ns is not None and trade.ts_ns >= to_ns):
            continue
        found.rows += 1
        if trade.trade_id in seen[pair]:
            found.repeated += 1
            continue
        seen[pair].add(trade.trade_id)
        found.trades[pair].append(trade)
    return found


def ns_of(text: str) -> int:
    """Turn an ISO 8601 time (UTC unless it says otherwise) with up to nine decimals, or ns, into ns since the epoch."""
    if text.isdecimal() and len(text) > YEAR_DIGITS:
        return int(text)
    head, dot, rest = text.strip().replace(" ", "T", 1).partition(".")
    digits = ""
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        head += rest[len(digits) :]
    moment = datetime.fromisoformat(head)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Whole seconds only: a float of ns since the epoch would not be exact.
    return round(moment.timestamp()) * NS + int((digits + "000000000")[:9])


def _trade(row: dict[str, str], number: int) -> Row:
    price, qty, side, when, numbered = (row[name] for name in ("price", "qty", "side", "timestamp", "trade_id"))
    forms = ((NUMBER, price), (NUMBER, qty), (WHEN, when), (ID, numbered or str(number)))
    if side not in SIDES or not all(form.fullmatch(text) for form, text in forms):
        raise ValueError("price and qty are decimal numbers, side buy, sell or blank, timestamp RFC 3339")
    if not (0 < float(price) < math.inf and 0 < float(qty) < math.inf):
        raise ValueError("price and qty must be positive and finite")
    ts_ns = int(when) if when.isdecimal() else ns_of(when.upper())
    trade_id = int(numbered or number)
    if not 0 < trade_id < ID_END or not 0 < ts_ns < time.time_ns() + MINUTE_NS:
        raise ValueError("trade_id and timestamp must be positive, and not from the future")
    return Row(ts_ns, trade_id, Decimal(price), Decimal(qty), side)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    """Give the rows as text by column; a row that lacks a cell of its file's columns gives blanks."""
    if not file.is_file():
        raise BadInputError(f"{file} is not there: name a .csv, .csv.gz or .parquet file of trades")
    try:
        rows = _parquet(file) if file.suffix == ".parquet" else _csv(file)
        head = [name.strip().lower() for name in next(rows, [])]
        if missing := [name for name in NEEDED if name not in head]:
            raise BadInputError(f"{file} lacks the columns {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
        blank = dict.fromkeys(COLUMNS, "")
        for row in rows:
            if row:
                # Too short a row is broken, whichever cells it lacks.
                yield blank | (dict(zip(head, row, strict=False)) if len(row) >= len(head) else {"symbol": row[0]})
    except (gzip.BadGzipFile, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        raise BadInputError(
            f"{file} cannot be read ({error}): is it a whole .csv, .csv.gz or .parquet file?"
        ) from error


def _csv(file: Path) -> Iterator[list[str]]:
    """Read line by line: an open quote costs its own row and never the ones below it."""
    unpack = gzip.open if file.suffix == ".gz" else open
    with unpack(file, "rt", encoding="utf-8-sig", errors="replace") as text:
        for line in text:
            yield next(csv.reader([line.rstrip("\n")], strict=False), []) if len(line) <= LINE_CHARS else [line[:99]]


def _parquet(file: Path) -> Iterator[list[str]]:
    table = pq.read_table(file)
    yield list(table.column_names)
    for batch in table.to_batches():
        columns = [_cells(column) for column in batch.columns]
        yield from map(list, zip(*columns, strict=True))


def _cells(column: Any) -> list[str]:
    """Text of each cell; times as ns since the epoch, for their printed form depends on the file's zone."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
    return ["" if value is None else str(value) for value in column.to_pylist()]
