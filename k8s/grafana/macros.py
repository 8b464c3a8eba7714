"""What grafana-clickhouse-datasource makes of a query before it sends it.

Its sources: pkg/macros/macros.go, src/data/CHDatasource.ts. Only the macros
that the dashboards use; an unknown one is an error here, not an empty panel later. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Choice", "Range", "expand", "points_s"]

Choice = str | Sequence[str]
"""What is chosen of a variable: one value, several, or `$__all`."""
_ALL: Final = "$__all"
_CONDITION: Final = re.compile(r"\$__conditionalAll\(")
_MACRO: Final = re.compile(r"\$__(\w+)(?:\(([^()]*)\))?")
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!_)(\w+)")
_COLUMN: Final = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Range:
    """The time range of a dashboard and the length of one point."""

    from_s: int
    to_s: int
    interval_s: int


def points_s(from_s: int, to_s: int, least_s: int = 60, points: int = 1_000) -> int:
    """Give the length of a point (s) as Grafana rounds it for a panel so many pixels wide; `least_s` is its bound."""
    steps = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200)
    exact = (to_s - from_s) / points
    rounded = next((step for step, after in pairwise((*steps, 86_400)) if exact < (step + after) / 2), 86_400)
    return max(rounded, least_s)


def expand(sql: str, when: Range, chosen: Mapping[str, Choice], everything: Mapping[str, Sequence[str]]) -> str:
    """Give the SQL that reaches the store.

    Parameters
    ----------
    chosen
        By variable.
    everything
        All values of a variable, for `$__all`.

    Raises
    ------
    ValueError
        An unknown macro or variable, or an argument that is more than a column: the plugin splits at commas and
        brackets.

    """
    text = _conditions(sql, chosen)
    text = _VARIABLE.sub(lambda match: _variable(match, chosen, everything), text)
    return _MACRO.sub(lambda match: _macro(match, when), text)


def _conditions(sql: str, chosen: Mapping[str, Choice]) -> str:
    while found := _CONDITION.search(sql):
        depth, at = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[at], 0)
            at += 1
        condition, _, variable = sql[found.end() : at - 1].rpartition(",")
        name = variable.strip().strip("${}")
        if name not in chosen:
            raise ValueError(f"unknown variable in $__conditionalAll: {name}")
        phrase = "1=1" if chosen[name] in {_ALL, ""} else condition
        sql = sql[: found.start()] + phrase + sql[at:]
    return sql


def _variable(match: re.Match[str], chosen: Mapping[str, Choice], everything: Mapping[str, Sequence[str]]) -> str:
    name = match[1] or match[3]
    if name not in chosen:
        raise ValueError(f"unknown variable: {name}")
    picked = everything[name] if chosen[name] == _ALL else chosen[name]
    values = [picked] if isinstance(picked, str) else list(picked)
    if match[2] == "singlequote":
        return ",".join("'" + value.replace("'", "\\'") + "'" for value in values)
    if match[2] or len(values) > 1:
        raise ValueError(f"variable {name} is written without :singlequote but may hold several values")
    return values[0]


def _macro(match: re.Match[str], when: Range) -> str:
    name, argument = match[1], (match[2] or "").strip()
    plain = {
        "fromTime": f"toDateTime({when.from_s})",
        "toTime": f"toDateTime({when.to_s})",
        "interval_s": str(max(when.interval_s, 1)),
    }
    if name in plain:
        return plain[name] + (f"({match[2]})" if match[2] is not None else "")
    if not _COLUMN.fullmatch(argument):
        raise ValueError(f"$__{name}({argument}): only the name of a column is safe here")
    if name == "timeFilter":
        return f"{argument} >= toDateTime({when.from_s}) AND {argument} <= toDateTime({when.to_s})"
    if name == "timeInterval":
        return f"toStartOfInterval(toDateTime({argument}), INTERVAL {max(when.interval_s, 1)} second)"
    raise ValueError(f"unknown macro: $__{name}")
