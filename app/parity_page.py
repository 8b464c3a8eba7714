"""The parity of features as one self-contained page: `tickcast features parity --html FILE`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ml.report.frame import frame
from ml.report.tables import cell, minute, table
from tables.serving.parity import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tables.serving.parity import Parity, Tally

__all__ = ["render_parity"]

_OUTCOMES: Final = (("equal", "#34d399"), ("close", "#93c5fd"), ("different", "#f87171"), ("missing", "#9ca3af"))
_PLACES: Final = (
    ("store", "Topic against ClickHouse", "One row that was copied: every value has to be the same to the last bit."),
    (
        "recomputed",
        "Topic against a recompute",
        (
            "The bulk path (tulipy) over the stored candles. Recurrences give the same bits. Sums over windows are "
            f"added in another order; within {TOLERANCE:g} of a column's greatest value a difference counts as close."
        ),
    ),
)


def render_parity(found: Parity) -> str:
    """Give the page: the verdict, and for each comparison a chart and a table of the indicators."""
    title = f"Parity of {found.pair} {found.timeframe}"
    verdict = "The same everywhere" if found.same else "NOT the same"
    notes = "".join(f"<p>{cell(note)}</p>" for note in found.notes)
    head = (
        f'<h1>{cell(title)}</h1><p class="soft">{found.bars:,} bars, {minute(found.from_ms)} to {minute(found.to_ms)} '
        f'UTC</p><div class="verdict{" promoted" if found.same else ""}"><b>{verdict}</b>{notes}</div>'
    )
    sections = []
    charts: dict[str, Any] = {}
    for name, heading, text in _PLACES:
        tallies: Sequence[Tally] = getattr(found, name)
        charts[f"chart-{name}"] = _chart(tallies)
        sections.append((name, heading, [f"chart-{name}"], f"<p>{cell(text)}</p>{_table(tallies)}"))
    return frame(title, head, sections, charts)


def _table(tallies: Sequence[Tally]) -> str:
    rows = [
        (one.name, *(f"{getattr(one, outcome):,}" for outcome, _ in _OUTCOMES), f"{one.max_ulps:,}") for one in tallies
    ]
    return table(("indicator", *(outcome for outcome, _ in _OUTCOMES), "greatest distance (ulps)"), rows)


def _chart(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Stack the bars of each indicator by what became of the comparison (plotly.js)."""
    names = [one.name for one in tallies]
    data = [
        {
            "type": "bar",
            "name": outcome,
            "x": names,
            "y": [getattr(one, outcome) for one in tallies],
            "marker": {"color": colour},
        }
        for outcome, colour in _OUTCOMES
    ]
    layout = {
        "barmode": "stack",
        "height": 360,
        "yaxis": {"title": {"text": "bars"}},
        "xaxis": {"automargin": True},
        "margin": {"t": 20},
    }
    return {"data": data, "layout": layout}
