"""Histories over HTTP: pages, formats, validators, cache rules."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pyarrow as pa
import pytest

from api.formats import ARROW, CSV, JSON
from tests.api.seeded import PAIR
from tests.api.stack import Api
from tests.support.samples import START_MS

pytestmark = pytest.mark.component

HISTORIES = {"candles": 30, "features": 30, "forecasts": 60, "errors": 50}
NAMES = sorted(HISTORIES)


def get(api: Api, name: str, accept: str = JSON, headers: Any = None, **more: Any) -> httpx.Response:
    return api.http.get(f"/v1/{name}", params={"pair": PAIR, **more}, headers={"Accept": accept, **(headers or {})})


@pytest.mark.parametrize("limit", [7, 30, 59])
@pytest.mark.parametrize("name", NAMES)
def test_pages_are_together_one_big_read(seeded: Api, name: str, limit: int) -> None:
    whole = get(seeded, name, limit=1_000).json()
    assert (len(whole[name]), whole["next"]) == (HISTORIES[name], None)
    rows: list[Any] = []
    cursor: dict[str, str] = {}
    for _ in range(HISTORIES[name]):
        page = get(seeded, name, limit=limit, **cursor).json()
        rows += page[name]
        if page["next"] is None:
            break
        assert len(page[name]) == limit
        cursor = {"cursor": page["next"]}
    assert rows == whole[name]


@pytest.mark.parametrize("name", NAMES)
def test_link_header_leads_through_all_pages_in_every_format(seeded: Api, name: str) -> None:
    for accept in (JSON, CSV, ARROW):
        answer = get(seeded, name, accept, limit=25, **{"from": "2018-05-13T00:00:00+00:00"})
        count = _rows(answer)
        while link := answer.links.get("next"):
            assert f"cursor={answer.headers['X-Next-Cursor']}" in link["url"]
            answer = seeded.http.get(link["url"], headers={"Accept": accept})
            count += _rows(answer)
        assert count == HISTORIES[name]
        assert "X-Next-Cursor" not in answer.headers


def _rows(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    kind = answer.headers["Content-Type"].partition(";")[0]
    if kind == CSV:
        return len(list(csv.DictReader(io.StringIO(answer.text))))
    if kind == ARROW:
        with pa.ipc.open_stream(answer.content) as reader:
            return int(reader.read_all().num_rows)
    return len(answer.json()[answer.url.path.rpartition("/")[2]])


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("candles", {"timeframe": "5m"}),
        ("candles", {"pair": "BTC/USD"}),
        ("candles", {"from": "1"}),
        ("candles", {"to": str(START_MS + 60_000)}),
        ("features", {}),
        ("forecasts", {}),
        ("errors", {}),
    ],
)
def test_cursor_of_another_question_is_refused(seeded: Api, name: str, changed: dict[str, str]) -> None:
    cursor = get(seeded, "candles", limit=5).json()["next"]
    answer = get(seeded, name, **({"limit": 5, "cursor": cursor} | changed))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "cursor"
    assert "another question" in answer.json()["detail"]


def test_csv_and_arrow_have_the_rows_of_json(seeded: Api) -> None:
    expected = get(seeded, "candles", limit=5).json()["candles"]
    table = get(seeded, "candles", CSV, limit=5)
    assert table.headers["Content-Type"] == "text/csv; header=present; charset=utf-8"
    assert table.headers["X-Tickcast-Source"] == "sim"
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(int(row["open_ms"]), float(row["close"])) for row in rows] == [
        (row["open_ms"], row["close"]) for row in expected
    ]
    with pa.ipc.open_stream(get(seeded, "candles", ARROW, limit=5).content) as reader:
        arrow = reader.read_all()
    assert arrow.column("close").to_pylist() == [row["close"] for row in expected]
    assert arrow.schema.field("open_ms").type == pa.timestamp("ms", tz="UTC")


@pytest.mark.parametrize("name", NAMES)
def test_other_formats_are_refused_with_a_problem(seeded: Api, name: str) -> None:
    answer = get(seeded, name, "application/xml, text/html;q=0.5")
    assert answer.status_code == 406
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert ARROW in answer.json()["detail"]


@pytest.mark.parametrize("accept", [JSON, CSV, ARROW])
@pytest.mark.parametrize("name", NAMES)
def test_what_the_client_has_is_not_sent_again(seeded: Api, name: str, accept: str) -> None:
    first = get(seeded, name, accept)
    again = get(seeded, name, accept, {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for header in ("ETag", "Cache-Control", "Vary"):
        assert again.headers[header] == first.headers[header]
    assert get(seeded, name, accept, {"If-None-Match": first.headers["ETag"]}, limit=3).status_code == 200


def test_each_format_has_a_validator_of_its_own(seeded: Api) -> None:
    assert len({get(seeded, "candles", accept).headers["ETag"] for accept in (JSON, CSV, ARROW)}) == 3


@pytest.mark.parametrize("path", ["pairs", "accuracy", "models", "quality", "forecasts/latest"])
def test_other_answers_have_validators_too(seeded: Api, path: str) -> None:
    to = {"to": str(START_MS + 3_600_000)} if path in {"accuracy", "quality"} else {}
    first = seeded.get(f"/v1/{path}", **to)
    assert first.headers["Cache-Control"] == "private, no-cache"
    if path != "quality":  # its lag grows
        again = seeded.http.get(f"/v1/{path}", params=to, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_only_what_is_settled_may_be_kept_without_asking(seeded: Api) -> None:
    settled = "private, max-age=300"
    asked = "private, no-cache"
    assert get(seeded, "candles").headers["Cache-Control"] == asked
    assert get(seeded, "candles", to=str(START_MS + 600_000)).headers["Cache-Control"] == settled
    older = get(seeded, "candles", limit=5)
    assert older.headers["Cache-Control"] == asked
    assert get(seeded, "candles", limit=5, cursor=older.json()["next"]).headers["Cache-Control"] == settled
    recent = older.json()["as_of_ms"] - 5_000_000  # 83 minutes ago
    assert get(seeded, "candles", to=str(recent)).headers["Cache-Control"] == settled
    assert get(seeded, "candles", timeframe="1h", to=str(recent)).headers["Cache-Control"] == asked
    assert get(seeded, "errors", to=str(recent)).headers["Cache-Control"] == asked


@pytest.mark.parametrize("path", ["candles", "features", "forecasts", "errors"])
def test_large_answers_are_compressed_for_those_who_can_read_it(seeded: Api, path: str) -> None:
    packed = get(seeded, path, headers={"Accept-Encoding": "gzip"})
    plain = get(seeded, path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.json()[path] == plain.json()[path]
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_forecast_is_found_by_the_id_of_its_row_with_what_became_of_it(seeded: Api) -> None:
    rows = get(seeded, "forecasts", horizon_s=300, limit=1_000).json()["forecasts"]
    outcomes = {row["id"]: row for row in get(seeded, "errors", limit=1_000).json()["errors"]}
    for row, outcome in ((rows[0], None), (rows[-1], outcomes[rows[-1]["id"]])):
        body = seeded.get(f"/v1/forecasts/{row['id']}").json()
        assert (body["id"], body["forecast"], body["outcome"]) == (row["id"], row, outcome)
    latest = seeded.get("/v1/forecasts/latest", pair=PAIR).json()["forecasts"]
    assert seeded.get(f"/v1/forecasts/{latest[0]['id']}").json()["forecast"] == latest[0]


@pytest.mark.parametrize("name", ["nope", "WyJCVEMvVVNEIl0", "x" * 600, "%00", "WyJOTyIsNjAsMSwiZSIsIjEiXQ"])
def test_id_that_names_nothing_is_not_found(seeded: Api, name: str) -> None:
    answer = seeded.get(f"/v1/forecasts/{name}")
    assert answer.status_code in {400, 404}
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_accuracy_and_quality_of_the_past(seeded: Api) -> None:
    to = str(START_MS + 3_600_000)
    body = seeded.get("/v1/accuracy", pair=PAIR, to=to, window="1h").json()
    assert body["window_s"] == 3_600
    assert [(row["horizon_s"], row["scored"], row["skill"]) for row in body["accuracy"]] == [
        (60, 25, 0.5),
        (300, 25, 0.5),
    ]
    assert seeded.get("/v1/accuracy", pair=PAIR).json()["accuracy"] == []
    quality = seeded.get("/v1/quality", pair=PAIR, to=to, window="1h").json()["pairs"]
    assert [(row["candles"], row["holes_open"], row["holes_repaired"], row["late_trades"]) for row in quality] == [
        (30, 1, 1, 1)
    ]
    every = seeded.get("/v1/quality").json()["pairs"]
    names = [row["pair"] for row in every]
    assert names == sorted({*names, "ADA/USD", PAIR})
    assert next(row for row in every if row["pair"] == "ADA/USD")["last_candle_open_ms"] is None


def test_models_tell_their_aliases_and_where_their_report_is(seeded: Api) -> None:
    models = seeded.get("/v1/models").json()["models"]
    assert [(row["horizon_s"], row["alias"], row["version"]) for row in models] == [
        (300, "champion", "1"),
        (300, "challenger", "2"),
    ]
    assert models[0]["report"] is None
    assert "tickcast-300s" in seeded.get(models[1]["report"]).text
    assert seeded.get("/v1/models", horizon_s=60).json()["models"] == []
