"""Charts as plotly.js takes them: plain dicts, so that nothing of plotly is imported in the trainer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ml.model import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.report.content import Content
    from ml.tuning import Trial

__all__ = ["Figure", "calibration_chart", "figures", "folds_chart"]

_COLOURS: Final = ("#3b82f6", "#f59e0b", "#10b981", "#a855f7", "#ef4444", "#64748b")
"""Readable on white and on near black."""
_MAX_BARS: Final = 20
_PERCENT: Final = 100.0

Figure = dict[str, Any]


def figures(content: Content) -> dict[str, Figure]:
    """Give the charts that there are data for, by the id of their box."""
    report = content.report
    found: dict[str, Figure] = {}
    if report.folds:
        found["chart-folds"] = folds_chart([(fold.skill, fold.coverage90) for fold in report.folds])
    if report.calibration:
        found["chart-calibration"] = calibration_chart(report.calibration)
    if report.importance:
        found["chart-importance"] = _importance(report.importance)
    if any(one.psi is not None for one in content.features):
        found["chart-drift"] = _drift(content)
    done = [one for one in content.trials if one.loss is not None and math.isfinite(one.loss)]
    if done:
        found["chart-history"] = _history(done)
        found["chart-parallel"] = _parallel([one for one in done if one.state == "COMPLETE"])
    return {name: figure for name, figure in found.items() if figure["data"]}


def _layout(height: int = 320, **more: Any) -> Figure:
    return {"height": height, "margin": {"l": 60, "r": 20, "t": 20, "b": 50}, "legend": {"orientation": "h"}, **more}


def folds_chart(folds: Sequence[tuple[float, float]]) -> Figure:
    """Chart pinball skill and coverage of the 90 % interval (shares) of each fold."""
    x = [f"fold {at + 1}" for at in range(len(folds))]
    return {
        "data": [
            {
                "type": "bar",
                "name": "pinball skill over the baseline (%)",
                "x": x,
                "y": [skill * _PERCENT for skill, _ in folds],
                "marker": {"color": [_COLOURS[0] if skill > 0 else _COLOURS[4] for skill, _ in folds]},
                "showlegend": False,
            },
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "coverage of the 90 % interval (%)",
                "x": x,
                "y": [coverage * _PERCENT for _, coverage in folds],
                "yaxis": "y2",
                "line": {"color": _COLOURS[1]},
            },
        ],
        "layout": _layout(
            xaxis={"type": "category"},
            yaxis={"title": {"text": "skill (%)"}, "rangemode": "tozero"},
            yaxis2={
                "title": {"text": "coverage (%)"},
                "overlaying": "y",
                "side": "right",
                "range": [80, 100],
                "dtick": 5,
                "showgrid": False,
            },
            margin={"l": 60, "r": 70, "t": 20, "b": 50},
            legend={"orientation": "h", "y": 1.15},
        ),
    }


def calibration_chart(calibration: Mapping[str, Sequence[float]]) -> Figure:
    """Chart share minus level, by model: on the usual square all lie on the diagonal to the eye."""
    levels = [level * _PERCENT for level in LEVELS]
    off = {
        name: [(share - level) * _PERCENT for share, level in zip(shares, LEVELS, strict=True)]
        for name, shares in calibration.items()
    }
    reach = max(3.0, *(1.2 * abs(value) for values in off.values() for value in values))
    models = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": levels,
            "y": values,
            "line": {"color": _COLOURS[at % len(_COLOURS)]},
        }
        for at, (name, values) in enumerate(off.items())
    ]
    return {
        "data": models,
        "layout": _layout(
            xaxis={"title": {"text": "quantile (%)"}, "tickvals": levels, "range": [0, 100]},
            yaxis={
                "title": {"text": "outcomes below it, off by (points)"},
                "range": [-reach, reach],
                "zerolinewidth": 2,
            },
            legend={"orientation": "h", "y": 1.15},
        ),
    }


def _bars(names: list[str], values: list[float], title: str, colours: list[str]) -> Figure:
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": names[::-1],
                "x": values[::-1],
                "marker": {"color": colours[::-1]},
            }
        ],
        "layout": _layout(
            60 + 22 * len(names), xaxis={"title": {"text": title}}, yaxis={"type": "category"}, showlegend=False
        ),
    }


def _importance(importance: dict[str, float]) -> Figure:
    top = sorted(importance.items(), key=lambda item: -item[1])[:_MAX_BARS]
    return _bars(
        [name for name, _ in top], [value for _, value in top], "share of the importance (%)", [_COLOURS[0]] * len(top)
    )


def _drift(content: Content) -> Figure:
    moved = sorted(((one.psi, one.name) for one in content.features if one.psi is not None), reverse=True)[:_MAX_BARS]
    colours = [_COLOURS[4] if psi > 0.2 else _COLOURS[1] if psi > 0.1 else _COLOURS[2] for psi, _ in moved]  # noqa: PLR2004  # the usual bounds of a PSI
    return _bars(
        [name for _, name in moved], [psi for psi, _ in moved], "PSI, test block against training rows", colours
    )


def _history(trials: list[Trial]) -> Figure:
    complete = [one for one in trials if one.state == "COMPLETE"]
    pruned = [one for one in trials if one.state == "PRUNED"]
    best: list[float] = []
    for one in complete:
        best.append(min([*best[-1:], one.loss or math.inf]))
    return {
        "data": [
            _points("complete", complete, _COLOURS[0], "circle"),
            _points("pruned", pruned, _COLOURS[5], "x"),
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": [one.number for one in complete],
                "y": best,
                "line": {"shape": "hv", "color": _COLOURS[2]},
            },
        ],
        "layout": _layout(
            xaxis={"title": {"text": "trial"}},
            yaxis={"title": {"text": "loss on validation rows"}},
            legend={"orientation": "h", "y": 1.15},
        ),
    }


def _points(name: str, trials: list[Trial], colour: str, symbol: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [one.number for one in trials],
        "y": [one.loss for one in trials],
        "marker": {"color": colour, "symbol": symbol, "size": 9},
    }


def _parallel(trials: list[Trial]) -> Figure:
    if len(trials) < 2:  # noqa: PLR2004  # one line says nothing
        return {"data": [], "layout": {}}
    names = sorted(trials[0].params)
    dimensions: list[Figure] = [{"label": name, "values": [one.params.get(name) for one in trials]} for name in names]
    losses = [one.loss for one in trials]
    dimensions.append({"label": "loss", "values": losses})
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "line": {"color": losses, "colorscale": "Viridis", "showscale": True},
            }
        ],
        "layout": _layout(360, margin={"l": 70, "r": 40, "t": 60, "b": 30}),
    }
