"""Rows as JSON, CSV or Arrow. Pure: bytes out of records.

The columns of all three are the fields of the record by the same names; the values of features are columns of their
own in CSV and Arrow.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from tables.features import FEATURE_NAMES

__all__ = [
    "ARROW",
    "CSV",
    "FORMATS",
    "GZIP_FROM_BYTES",
    "GZIP_LEVEL",
    "JSON",
    "Format",
    "arrow",
    "as_csv",
    "encode",
    "negotiated",
    "takes_gzip",
]

Format = Literal["application/json", "text/csv", "application/vnd.apache.arrow.stream"]
JSON: Final[Format] = "application/json"
CSV: Final[Format] = "text/csv"
ARROW: Final[Format] = "application/vnd.apache.arrow.stream"
FORMATS: Final[tuple[Format, ...]] = (JSON, CSV, ARROW)
GZIP_LEVEL: Final = 5
GZIP_FROM_BYTES: Final = 500
"""Smaller bodies are sent as they are (bytes)."""
VALUES: Final = "values"
_UNITS: Final = {"_ms": "ms", "_s": "s", "_bps": "bps"}
_ACCEPT_MAX: Final = 1_000


def negotiated(accept: str) -> Format | None:
    """Choose what the `Accept` header likes best (RFC 9110, 12.5.1), of equals JSON; None where nothing fits."""
    if not accept.strip():
        return JSON
    ranges = [_range(part) for part in accept[:_ACCEPT_MAX].split(",")]
    liked = {kind: _quality(kind, ranges) for kind in FORMATS}
    best = max(FORMATS, key=liked.__getitem__)
    return best if liked[best] > 0 else None


@lru_cache(256)
def takes_gzip(accept_encoding: str | None) -> bool:
    """Tell whether a client can read gzip (RFC 9110, 12.5.3)."""
    ranges = dict(_range(part) for part in (accept_encoding or "")[:_ACCEPT_MAX].split(","))
    return ranges.get("gzip", ranges.get("*", 0.0)) > 0


def _range(text: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return kind, min(max(float(weight), 0.0), 1.0)
    except ValueError:
        return kind, 0.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Take the weight of the most specific range that covers the type."""
    for covering in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        weights = [weight for name, weight in ranges if name == covering]
        if weights:
            return max(weights)
    return 0.0


def encode(kind: Format, rows: Sequence[msgspec.Struct], struct: type[msgspec.Struct]) -> bytes:
    """Encode the rows alone: a JSON list, a CSV table with a header row, an Arrow stream."""
    if kind == CSV:
        return as_csv(rows, struct)
    return arrow(rows, struct) if kind == ARROW else msgspec.json.encode(rows)


def as_csv(rows: Sequence[msgspec.Struct], struct: type[msgspec.Struct]) -> bytes:
    """Write RFC 4180: CRLF, quotes where needed; nothing where a value is null, lists as JSON, numbers in full."""
    columns = _columns(rows, struct)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_cell(value) for value in column] for column in columns.values()), strict=True))
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def arrow(rows: Sequence[msgspec.Struct], struct: type[msgspec.Struct]) -> bytes:
    """Write one record batch: times as timestamp[ms, UTC], units in the metadata of the fields."""
    import pyarrow as pa  # noqa: PLC0415  # 40 MB that most API processes never need

    columns = _columns(rows, struct)
    types = _types(struct)
    fields = [pa.field(name, types[name], metadata=_unit(name)) for name in columns]
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns.values(), fields, strict=True)]
    schema = pa.schema(fields)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


def _columns(rows: Sequence[msgspec.Struct], struct: type[msgspec.Struct]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for name in struct.__struct_fields__:
        column = list(map(attrgetter(name), rows))
        if name == VALUES:
            columns |= {feature: [values.get(feature) for values in column] for feature in FEATURE_NAMES}
        else:
            columns[name] = column
    return columns


def _types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415  # as above

    plain = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    types: dict[str, Any] = dict.fromkeys(FEATURE_NAMES, pa.float64())
    for name, hint in get_type_hints(struct).items():
        if get_origin(hint) is list:
            types[name] = pa.list_(plain[get_args(hint)[0]])
        elif get_origin(hint) is tuple:
            types[name] = pa.list_(plain[get_args(hint)[0]], len(get_args(hint)))
        elif name.endswith("_ms"):
            types[name] = pa.timestamp("ms", tz="UTC")
        elif name != VALUES:
            types[name] = plain[hint]
    return types


def _unit(name: str) -> dict[str, str] | None:
    return next(({"unit": unit} for ending, unit in _UNITS.items() if name.endswith(ending)), None)
