"""What a dashboard is made of. One definition of a panel makes the JSON, the SQL test and the preview."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = [
    "CLICKHOUSE",
    "COLUMNS",
    "PROMETHEUS",
    "Dashboard",
    "Kind",
    "Metric",
    "Panel",
    "Rule",
    "Section",
    "Style",
    "Variable",
    "place",
]

CLICKHOUSE: Final = "tickcast-clickhouse"
PROMETHEUS: Final = "tickcast-prometheus"
"""Uids of the two data sources (provisioning/datasources)."""
COLUMNS: Final = 24
"""Width of Grafana's grid."""
LEAST_S: Final = {"1m": 60, "5m": 300, "15m": 900}


class Kind(Enum):
    """How a panel is drawn, and with it what its SQL must give.

    `CANDLES`, `LINES`, `BARS`: first column a time, then numbers; or a name and a number called `Value`, which makes a
    series of each name (by any other name Grafana would put that before the series', and no style would find it).
    `STAT`: one row of numbers. `COLUMNS`: first column a name, then numbers. `TABLE`: anything.
    """

    CANDLES = "candlestick"
    LINES = "timeseries"
    BARS = "timeseries-bars"
    STAT = "stat"
    COLUMNS = "barchart"
    TABLE = "table"

    @property
    def has_time(self) -> bool:
        """Whether the first column is a time."""
        return self in {Kind.CANDLES, Kind.LINES, Kind.BARS}


@dataclass(frozen=True)
class Style:
    """How one series or column differs from its panel."""

    color: str = ""
    width: int = 1
    dashed: bool = False
    bars: bool = False
    fill_to: str = ""
    """Name of the series down to which the area is filled."""
    opacity: int = 15
    """Of that area (percent)."""
    unit: str = ""
    decimals: int | None = None


@dataclass(frozen=True)
class Metric:
    """A Prometheus expression and the name of its series."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel; it reads ClickHouse (`sql`) or Prometheus (`metrics`)."""

    title: str
    description: str
    unit: str
    """Grafana's id of it: `short`, `percentunit`, `ms`, `s`, `none`."""
    kind: Kind
    sql: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    width: int = 12
    height: int = 8
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    marks: tuple[tuple[float, str], ...] = ()
    """Levels, rising, and the colour from there on; drawn as lines where there is a time axis."""
    styles: dict[str, Style] = field(default_factory=dict)
    stacked: bool = False
    min_interval: str = "1m"
    """A point is never shorter than this: one of `LEAST_S`."""

    @property
    def least_s(self) -> int:
        """Length of the shortest point (s)."""
        return LEAST_S[self.min_interval]


@dataclass(frozen=True)
class Section:
    """A headline over the panels that follow."""

    title: str


@dataclass(frozen=True)
class Variable:
    """Something to choose at the top: from a query, or from a fixed list."""

    name: str
    label: str
    about: str
    sql: str = ""
    values: tuple[str, ...] = ()
    default: str = ""
    multi: bool = False
    """Several may be chosen, and all of them are at first."""


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; `uid` is in its address and never changes."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    items: tuple[Panel | Section, ...]
    start: str = "now-6h"
    end: str = "now"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels without the headlines."""
        return tuple(item for item in self.items if isinstance(item, Panel))


@dataclass(frozen=True)
class Rule:
    """An alert: each row of the query is one thing watched, and fires while its last column is above `above`."""

    uid: str
    title: str
    summary: str
    """One line that may name columns as `{{ .Labels.pair }}`."""
    step: str
    """What a person does next."""
    severity: str
    above: float
    sql: str = ""
    expr: str = ""
    wait: str = "5m"
    """How long it has to stand before anybody is told."""
    silent_without_data: bool = True
    """Whether an empty answer is well."""


def place(items: tuple[Panel | Section, ...]) -> list[tuple[Panel | Section, int, int, int, int]]:
    """Lay items out from left to right, in rows as high as their highest panel: (item, x, y, width, height)."""
    found: list[tuple[Panel | Section, int, int, int, int]] = []
    x = y = row = 0
    for item in items:
        width, height = (item.width, item.height) if isinstance(item, Panel) else (COLUMNS, 1)
        if x + width > COLUMNS:
            x, y, row = 0, y + row, 0
        found.append((item, x, y, width, height))
        x, row = x + width, max(row, height)
    return found
