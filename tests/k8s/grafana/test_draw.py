from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from k8s.grafana.draw import Answer, page, size
from k8s.grafana.panel import Dashboard, Kind, Metric, Panel, Section, Style

TIMES = [datetime(2024, 7, 3, tzinfo=UTC) + timedelta(minutes=minute) for minute in range(5)]
LINES = Panel(
    "Lines", "d.", "short", Kind.LINES, ("",), styles={"b": Style("#123456", fill_to="a")}, marks=((2.0, "red"),)
)
CANDLES = Panel("Price", "d.", "short", Kind.CANDLES, ("", ""))
STAT = Panel("Stat", "d.", "percentunit", Kind.STAT, ("",), decimals=1, marks=((0, "green"), (0.5, "red")))
TABLE = Panel("Table", "d.", "none", Kind.TABLE, ("",), styles={"share": Style(unit="percentunit", decimals=0)})
METRIC = Panel("Lag", "d.", "short", Kind.LINES, metrics=(Metric("x", "y"),))


def drawn(panel: Panel, *answers: Answer) -> tuple[str, dict[str, Any]]:
    board = Dashboard("u", "Board", "d", (), (Section("Part"), panel))
    text = page(board, {"1": answers} if answers else {}, {"pair": "<BTC>"}, "recorded", "/* library */")
    found = re.search(r"const charts=(\{.*\});for", text)
    assert found is not None
    charts = json.loads(found[1])
    return text, charts.get("c1", {})


def test_names_in_rows_become_series_and_values_that_are_none_stay_out() -> None:
    rows = [(time, name, value) for time in TIMES for name, value in (("a", 1.0), ("b", float("nan")))]
    _, chart = drawn(LINES, Answer(("time", "name", "Value"), rows))
    assert [(one["name"], one["y"][0]) for one in chart["data"]] == [("a", 1.0), ("b", None)]
    assert chart["data"][1]["fill"] == "tonexty"
    assert chart["data"][1]["line"]["color"] == "#123456"
    assert [shape["y0"] for shape in chart["layout"]["shapes"]] == [2.0]


def test_candles_carry_their_overlay() -> None:
    candles = Answer(("time", "open", "high", "low", "close"), [(time, 1.0, 3.0, 0.5, 2.0) for time in TIMES])
    _, chart = drawn(CANDLES, candles, Answer(("time", "sma"), [(time, 1.5) for time in TIMES]))
    assert [one["type"] for one in chart["data"]] == ["candlestick", "scatter"]
    assert chart["data"][0]["high"] == [3.0] * 5


def test_figures_have_their_unit_and_the_colour_of_their_level() -> None:
    text, _ = drawn(STAT, Answer(("x",), [(0.512,)]))
    assert '<div class="value" style="color:red">51.2%</div>' in text
    assert ">-<" in drawn(STAT, Answer(("x",), [(None,)]))[0]


def test_tables_are_written_out_and_text_is_only_text() -> None:
    text, _ = drawn(TABLE, Answer(("share", "pair"), [(0.5, "<b>")]))
    assert '<td class="number">50%</td><td class="">&lt;b&gt;</td>' in text
    assert "pair <b>&lt;BTC&gt;</b>" in text


def test_what_has_no_answer_says_so() -> None:
    assert "No data" in drawn(LINES)[0]
    assert "from Prometheus" in drawn(METRIC)[0]


def test_page_is_as_high_as_its_panels() -> None:
    one = Dashboard("u", "t", "d", (), (STAT, TABLE, LINES))
    assert size(one)[1] > size(Dashboard("u", "t", "d", (), (STAT, TABLE)))[1] + 8 * 30
