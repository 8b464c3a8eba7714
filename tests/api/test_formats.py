from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.formats import ARROW, CSV, FORMATS, JSON, arrow, as_csv, encode, negotiated, takes_gzip
from api.rows import error_row, forecast_row
from api.schemas import ErrorRow, ForecastRow
from tables.features import FEATURE_NAMES
from tables.records import Candle, Features
from tests.api.seeded import error
from tests.support.samples import START_MS, candle, features, forecast


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        (ARROW, ARROW),
        ("text/*", CSV),
        ("application/*", JSON),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.5, */*", JSON),
        ("application/json;q=0, */*;q=0.1", CSV),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("text/csv;q=0", None),
        ("application/json;q=0", None),
        ("application/xml", None),
        ("text/csv;q=nonsense", None),
        ("json", None),
    ],
)
def test_the_format_is_what_the_client_likes_best(accept: str, chosen: str | None) -> None:
    assert negotiated(accept) == chosen


@pytest.mark.parametrize(
    ("accept_encoding", "taken"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("*, gzip;q=0", False),
        ("x-gzip", False),
        ("br", False),
    ],
)
def test_gzip_only_for_those_who_take_it(accept_encoding: str | None, taken: bool) -> None:
    assert takes_gzip(accept_encoding) is taken


@given(st.text(max_size=300))
def test_no_accept_header_breaks_the_choice(accept: str) -> None:
    assert negotiated(accept) in {*FORMATS, None}


CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=12)


@given(st.lists(st.tuples(CELLS, st.floats(allow_nan=False, allow_infinity=False), st.booleans()), max_size=5))
def test_csv_reads_back_as_it_was(values: list[tuple[str, float, bool]]) -> None:
    rows = [candle(pair=pair, close=close, synthetic=flag) for pair, close, flag in values]
    text = as_csv(rows, Candle).decode()
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["pair"], float(row["close"]), row["synthetic"] == "true") for row in found] == values
    assert text.splitlines()[0].split(",") == list(Candle.__struct_fields__)


def test_csv_is_of_rfc_4180() -> None:
    text = as_csv([candle(source='a,"b"\n')], Candle)
    assert text.endswith(b"\r\n")
    assert b'"a,""b""\n"' in text


def test_empty_history_still_has_its_columns() -> None:
    assert as_csv([], Candle).decode().strip().split(",") == list(Candle.__struct_fields__)
    assert _table(arrow([], Features)).num_rows == 0
    assert encode(JSON, [], Candle) == b"[]"


def test_csv_leaves_a_value_that_is_not_warm_empty_and_gives_each_indicator_a_column() -> None:
    row = next(csv.DictReader(io.StringIO(as_csv([features(value=None)], Features).decode())))
    assert {row[name] for name in FEATURE_NAMES} == {""}
    assert "values" not in row


def test_arrow_tells_types_and_units() -> None:
    schema = _table(arrow([forecast_row(forecast())], ForecastRow)).schema
    assert schema.field("target_ms").type == pa.timestamp("ms", tz="UTC")
    assert schema.field("horizon_s").type == pa.int64()
    assert schema.field("q50").type == pa.float64()
    assert schema.field("trusted").type == pa.bool_()
    assert schema.field("reasons").type == pa.list_(pa.string())
    assert schema.field("sigma_bps").metadata == {b"unit": b"bps"}
    assert schema.field("horizon_s").metadata == {b"unit": b"s"}
    below = _table(arrow([error_row(error())], ErrorRow)).schema.field("below")
    assert below.type == pa.list_(pa.bool_(), 5)


@pytest.mark.parametrize(
    ("row", "struct"),
    [
        (candle(), Candle),
        (features(), Features),
        (features(value=None), Features),
        (forecast_row(forecast(reasons=["stale", "drift"])), ForecastRow),
        (error_row(error()), ErrorRow),
    ],
)
def test_arrow_reads_back_as_it_was(row: msgspec.Struct, struct: type[msgspec.Struct]) -> None:
    expected: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(row))
    expected |= expected.pop("values", {})
    found = _table(arrow([row], struct)).to_pylist()[0]
    times = {name: found[name] for name in found if name.endswith("_ms")}
    assert all(round(value.timestamp() * 1_000) == expected[name] for name, value in times.items())
    assert {name: value for name, value in found.items() if name not in times} == {
        name: value for name, value in expected.items() if name not in times
    }
    assert times


def test_time_of_arrow_is_the_moment_in_utc() -> None:
    at = _table(arrow([candle()], Candle)).to_pylist()[0]["open_ms"]
    assert at.isoformat() == "2018-05-13T00:00:00+00:00"
    assert START_MS == 1_526_169_600_000


def _table(stream: bytes) -> Any:
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()
