"""A dashboard as a still page, drawn by plotly.js from what its queries gave: for people to look at without a Grafana.

It follows the definitions (kind, unit, colours, fills, levels), not Grafana's pixels.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from k8s.grafana.panel import COLUMNS, Dashboard, Kind, Panel, Section, Style, place

__all__ = ["Answer", "page", "size"]

_WIDTH: Final = 1_480
_FEW: Final = 4
"""Points that a line alone would hide."""
_DAY_S: Final = 86_400
_CELL: Final = 36
"""Height of one row of the grid (px)."""
_GAP: Final = 8
_HEAD: Final = 74
_PALETTE: Final = ("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0")
_TICKS: Final = {"percentunit": ".1%", "short": ",~f", "none": ",~f", "s": ",~f", "ms": ",~f", "ops": ",~f"}
_SUFFIX: Final = {"s": " s", "ms": " ms", "ops": "/s"}
_PAGE: Final = """<!doctype html><html><head><meta charset="utf-8"><style>
body{{margin:0;background:#111217;color:#ccccdc;font:13px Inter,Helvetica,Arial,sans-serif}}
body{{width:{width}px;height:{height}px}}
.panel{{position:absolute;background:#181b1f;border:1px solid #2b2e36;border-radius:2px;overflow:hidden}}
.title{{padding:6px 10px 0;font-weight:600;font-size:13px;white-space:nowrap}}
.section{{position:absolute;font-size:15px;font-weight:600;padding:8px 2px}}
.value{{text-align:center;font-size:38px;font-weight:500;padding-top:16px}}
.none{{text-align:center;color:#7b8087;padding-top:24px}}
table{{border-collapse:collapse;width:100%;margin-top:4px}} th{{text-align:left;color:#8AB8FF;font-weight:500}}
td,th{{padding:4px 10px;border-bottom:1px solid #2b2e36;white-space:nowrap;max-width:300px;overflow:hidden}}
td.number,th.number{{text-align:right}}
h1{{font-size:20px;margin:12px 10px 4px;font-weight:500}} .about{{margin:0 10px;color:#9fa7b3}}
.chip{{display:inline-block;background:#22252b;border:1px solid #2b2e36;padding:2px 8px;margin-right:6px}}
</style><script>{library}</script></head><body>{body}<script>
const charts={charts};for(const [id,c] of Object.entries(charts))Plotly.newPlot(id,c.data,c.layout,{{staticPlot:true}});
</script></body></html>"""


class Answer(NamedTuple):
    """What one query gave."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]


def size(board: Dashboard) -> tuple[int, int]:
    """Give width and height of the page (px)."""
    bottom = max(y + height for _, _, y, _, height in place(board.items))
    return _WIDTH, _HEAD + bottom * _CELL + _GAP


def page(
    board: Dashboard, answers: Mapping[str, Sequence[Answer]], shown: Mapping[str, str], about: str, library: str
) -> str:
    """Draw one dashboard.

    Parameters
    ----------
    answers
        By number of the item in `board.items`: one for each of its queries; a panel without one is left empty.
    shown
        What to write at the top: variables and range.
    about
        Which data these are.
    library
        plotly.js.

    """
    chips = "".join(
        f'<span class="chip">{html.escape(name)} <b>{html.escape(value)}</b></span>' for name, value in shown.items()
    )
    body = [f'<h1>{html.escape(board.title)}</h1><div class="about">{chips} {html.escape(about)}</div>']
    charts: dict[str, Any] = {}
    cell = (_WIDTH - _GAP) / COLUMNS
    for at, (item, x, y, width, height) in enumerate(place(board.items)):
        box = (round(_GAP + x * cell), _HEAD + y * _CELL, round(width * cell) - _GAP, height * _CELL - _GAP)
        style = f"left:{box[0]}px;top:{box[1]}px;width:{box[2]}px;height:{box[3]}px"
        if isinstance(item, Section):
            body.append(f'<div class="section" style="{style}">{html.escape(item.title)}</div>')
            continue
        found = answers.get(str(at), ())
        inner = _inside(item, found, box[3])
        if not inner:
            inner = f'<div id="c{at}"></div>'
            charts[f"c{at}"] = {
                "data": _traces(item, found),
                "layout": _layout(item, _scale(item, found)[1], box[2], box[3] - 26),
            }
        body.append(
            f'<div class="panel" style="{style}"><div class="title">{html.escape(item.title)}</div>{inner}</div>'
        )
    width, height = size(board)
    text = json.dumps(charts, default=str).replace("</", "<\\/")
    return _PAGE.format(width=width, height=height, library=library, body="".join(body), charts=text)


def _inside(one: Panel, answers: Sequence[Answer], height: int) -> str:
    if one.metrics:
        return '<div class="none">from Prometheus: not in this picture</div>'
    if not answers or not answers[0].rows:
        return '<div class="none">No data</div>'
    if one.kind is Kind.STAT:
        value = answers[0].rows[0][0]
        color = next((mark[1] for mark in reversed(one.marks) if value is not None and value >= mark[0]), "#ccccdc")
        return f'<div class="value" style="color:{color}">{_said(value, one.unit, one.decimals)}</div>'
    return _table(one, answers[0], (height - 60) // 25) if one.kind is Kind.TABLE else ""


def _said(value: Any, unit: str = "", decimals: int | None = None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%m-%d %H:%M:%S")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return html.escape(str(value))
    if unit == "percentunit":
        return f"{value:.{2 if decimals is None else decimals}%}"
    figures = 0 if isinstance(value, int) else 2 if decimals is None else decimals
    return f"{value:,.{figures}f}{_SUFFIX.get(unit, '')}"


def _table(one: Panel, answer: Answer, most: int) -> str:
    numeric = [isinstance(value, int | float) for value in answer.rows[0]]
    cells = [
        f'<th class="{"number" if right else ""}">{name}</th>'
        for name, right in zip(answer.names, numeric, strict=True)
    ]
    rows = [f"<tr>{''.join(cells)}</tr>"]
    for row in answer.rows[:most]:
        said = []
        for name, value, right in zip(answer.names, row, numeric, strict=True):
            style = one.styles.get(name, Style())
            unit = style.unit or (one.unit if one.unit == "s" else "")
            said.append(f'<td class="{"number" if right else ""}">{_said(value, unit, style.decimals)}</td>')
        rows.append(f"<tr>{''.join(said)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _traces(one: Panel, answers: Sequence[Answer]) -> list[dict[str, Any]]:
    series: dict[str, tuple[list[Any], list[Any]]] = {}
    traces: list[dict[str, Any]] = []
    for number, answer in enumerate(answers):
        columns = [list(column) for column in zip(*answer.rows, strict=True)]
        if one.kind is Kind.CANDLES and number == 0:
            named = dict(zip(answer.names[1:], columns[1:], strict=True))
            colors = {
                side: {"line": {"color": color, "width": 1}, "fillcolor": color}
                for side, color in (("increasing", "#73BF69"), ("decreasing", "#F2495C"))
            }
            traces.append({"type": "candlestick", "name": "price", "x": columns[0], **named, **colors})
        elif answer.names[-1] == "Value":
            for time, name, value in answer.rows:
                x, y = series.setdefault(name, ([], []))
                x.append(time)
                y.append(value)
        else:
            series |= {name: (columns[0], column) for name, column in zip(answer.names[1:], columns[1:], strict=True)}
    scale, _ = _scale(one, answers)
    return traces + [_trace(one, name, x, y, at, scale) for at, (name, (x, y)) in enumerate(series.items())]


def _scale(one: Panel, answers: Sequence[Answer]) -> tuple[float, str]:
    """Give what to divide values by, and their unit: long times are told in days."""
    if one.unit == "s" and max(row[-1] for row in answers[0].rows) > 2 * _DAY_S:
        return _DAY_S, " d"
    return 1, _SUFFIX.get(one.unit, "")


def _trace(one: Panel, name: str, x: list[Any], y: list[Any], at: int, scale: float) -> dict[str, Any]:
    style = one.styles.get(name, Style())
    color = style.color or _PALETTE[at % len(_PALETTE)]
    clean = [None if value is None or not math.isfinite(value) else value / scale for value in y]
    if one.kind in {Kind.BARS, Kind.COLUMNS} or style.bars:
        return {"type": "bar", "name": name, "x": x, "y": clean, "marker": {"color": color, "line": {"width": 0}}}
    line = {"color": color, "width": style.width * 1.3, "dash": "dash" if style.dashed else "solid"}
    found = {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": clean, "line": line}
    if len(x) < _FEW:
        found["mode"] = "lines+markers"
    area = color + f"{style.opacity * 255 // 100:02x}"
    return found | ({"fill": "tonexty", "fillcolor": area} if style.fill_to else {})


def _layout(one: Panel, suffix: str, width: int, height: int) -> dict[str, Any]:
    quiet = {"gridcolor": "#24272d", "linecolor": "#2b2e36", "zerolinecolor": "#33363d", "automargin": True}
    ticks = f".{one.decimals}%" if one.unit == "percentunit" and one.decimals is not None else _TICKS[one.unit]
    axis: dict[str, Any] = {**quiet, "tickformat": ticks, "ticksuffix": suffix}
    if one.kind is Kind.CANDLES or one.title.startswith("Fan"):
        axis["tickformat"] = ",.0f"
    if one.low is not None and one.high is not None:
        axis["range"] = [one.low, one.high]
    elif one.low is not None:
        axis["rangemode"] = "tozero"
    levels = [
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level,
            "line": {"color": color, "width": 1, "dash": "dash"},
        }
        for level, color in one.marks
    ]  # fmt: skip
    return {
        "width": width,
        "height": height,
        "margin": {"l": 54, "r": 14, "t": 26, "b": 34},
        "paper_bgcolor": "#181b1f",
        "plot_bgcolor": "#181b1f",
        "font": {"color": "#9fa7b3", "size": 11},
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        "showlegend": True,
        "barmode": "stack" if one.stacked else "group",
        "bargap": 0.1,
        "xaxis": {**quiet, "rangeslider": {"visible": False}},
        "yaxis": axis,
        "shapes": levels,
    }
