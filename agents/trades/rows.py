"""Recorded trades in files: CSV, CSV.gz and Parquet to rows of text, streaming, each with its line."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from agents.trades.refusals import Refusal
from redpanda.errors import BadInputError, MissingToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["COLUMNS", "Row", "open_rows"]

COLUMNS: Final = ("symbol", "price", "qty", "side", "ord_type", "trade_id", "timestamp")
REQUIRED: Final = frozenset(("symbol", "price", "qty", "timestamp"))
MAX_LINE_CHARS: Final = 4_096
BLOCK_CHARS: Final = 1 << 18
PARQUET_ROWS: Final = 8_192


class Row(msgspec.Struct, gc=False):
    """One recorded trade as text; a missing column is empty."""

    line: int
    symbol: str
    price: str
    qty: str
    side: str
    ord_type: str
    trade_id: str
    timestamp: str
    """RFC 3339, or ns since the epoch where the file holds binary times."""


def open_rows(path: Path, at: Callable[[int], None]) -> Iterator[Row | Refusal]:
    """Read a file row by row; `at` hears how many of its bytes are behind.

    Raises
    ------
    BadInputError
        The file is missing, cut short, or not of this shape.
    MissingToolError
        Parquet without pyarrow.
    """
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path, at)
        else:
            with path.open("rb") as raw:
                yield from _csv(path, raw, at)
    except (OSError, EOFError, zlib.error) as error:
        what = getattr(error, "strerror", None) or error
        raise BadInputError(f"TICKCAST_SOURCE=replay:{path}: {what}; check the file") from error


def _places(path: Path, names: list[str]) -> list[int]:
    """Position of each of COLUMNS in the file; -1 where it is missing."""
    lower = [name.strip().lower() for name in names]
    missing = sorted(REQUIRED - set(lower))
    if missing:
        raise BadInputError(
            f"TICKCAST_SOURCE=replay:{path}: no column {', '.join(missing)}; "
            f"the first line must name {','.join(COLUMNS)}"
        )
    return [lower.index(name) if name in lower else -1 for name in COLUMNS]


def _csv(path: Path, raw: IO[bytes], at: Callable[[int], None]) -> Iterator[Row | Refusal]:
    unpacked: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
    with io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="replace") as text:
        lines = _lines(text)
        places = _places(path, _fields(next(lines, "")))
        plain = places == list(range(len(COLUMNS)))
        for line, content in enumerate(lines, 2):
            if line % 2_000 == 0:
                at(raw.tell())
            fields = _fields(content) if len(content) <= MAX_LINE_CHARS else []
            if plain and len(fields) == len(COLUMNS):
                yield Row(line, *fields)
            elif fields and max(places) < len(fields):
                yield Row(line, *(fields[place] if place >= 0 else "" for place in places))
            elif fields:
                yield Refusal("malformed-row", f"line {line} of {path.name} has {len(fields)} fields", content)
            elif content:
                yield Refusal("too-large", f"line {line} of {path.name} is over {MAX_LINE_CHARS}", content)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Lines without their ends; one that is too long is cut, so that no line can fill the memory."""
    rest = ""
    while block := text.read(BLOCK_CHARS):
        lines = (rest + block).split("\n")
        rest = lines.pop()[: MAX_LINE_CHARS + 1]
        yield from lines
    if rest:
        yield rest


def _fields(content: str) -> list[str]:
    """Split one line. A quote never reaches into the next line, so a stray one costs one row."""
    if not content:
        return []
    if '"' not in content:
        return content.split(",")
    try:
        return next(csv.reader([content]))
    except (csv.Error, StopIteration):
        return [content]


def _parquet(path: Path, at: Callable[[int], None]) -> Iterator[Row | Refusal]:
    try:
        import pyarrow as pa  # noqa: PLC0415  # only Parquet needs it
        import pyarrow.parquet as pq  # noqa: PLC0415  # only Parquet needs it
    except ImportError as error:
        raise MissingToolError("Parquet needs pyarrow: install it, or replay the CSV form") from error
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            places = _places(path, names)
            total = max(file.metadata.num_rows, 1)
            size = path.stat().st_size
            line = 0
            wanted = [names[place] for place in places if place >= 0]
            for batch in file.iter_batches(PARQUET_ROWS, columns=wanted):
                columns = [_texts(batch, names[place]) if place >= 0 else None for place in places]
                for row in range(batch.num_rows):
                    line += 1
                    yield Row(line, *(column[row] if column is not None else "" for column in columns))
                at(size * line // total)
    except pa.ArrowException as error:
        raise BadInputError(f"TICKCAST_SOURCE=replay:{path}: not readable as Parquet: {error}") from error


def _texts(batch: Any, name: str) -> list[str]:
    import pyarrow as pa  # noqa: PLC0415  # only Parquet needs it

    column = batch.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
    return ["" if value is None else str(value) for value in column.to_pylist()]
