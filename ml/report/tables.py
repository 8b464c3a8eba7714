"""Plain HTML of the page: readable without any script. Whatever comes from data goes through `cell` and is escaped."""

from __future__ import annotations

import math
import time
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["cell", "minute", "number", "percent", "probability", "spark", "table"]

_SPARK: Final = (120, 24)
"""Width and height of a histogram (px)."""


class Raw(str):
    """HTML that was made here and is escaped already."""

    __slots__ = ()


def cell(value: object) -> str:
    """Give a value as HTML text; None is a dash."""
    if isinstance(value, Raw):
        return value
    return "-" if value is None else escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Make a table; the first `left` columns hold words, the others numbers."""
    top = "".join(f"<th{_side(at, left)}>{cell(name)}</th>" for at, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{_side(at, left)}>{cell(one)}</td>" for at, one in enumerate(row)) + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def _side(at: int, left: int) -> str:
    return "" if at < left else ' class="n"'


def number(value: float | None, digits: int = 3) -> str | None:
    """Write with so many significant digits and separators of thousands."""
    if value is None or not math.isfinite(value):
        return None
    if value == round(value) and abs(value) < 1e15:  # noqa: PLR2004  # beyond, a float is no count
        return f"{int(value):,}"
    return f"{value:,.{digits}g}" if abs(value) < 1_000 else f"{value:,.0f}"  # noqa: PLR2004  # no exponents


def percent(value: float | None, digits: int = 2, *, sign: bool = False) -> str | None:
    """Write a share as a percentage."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value * 100:{'+' if sign else ''}.{digits}f} %"


def probability(value: float | None) -> str | None:
    """Write a probability, tiny ones as powers of ten."""
    if value is None:
        return None
    if value < 1e-300:  # noqa: PLR2004  # about where a float ends
        return "<1e-300"
    return f"{value:.0e}" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004  # readable


def minute(at_ms: int) -> str:
    """Write a time to the minute, UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1_000))


def spark(counts: Sequence[int]) -> Raw:
    """Draw a histogram as a small SVG."""
    width, height = _SPARK
    if not counts or max(counts) == 0:
        return Raw("")
    step, most = width / len(counts), max(counts)
    path = "".join(
        f"M{at * step:.1f} {height}v-{count / most * height:.1f}h{step:.1f}V{height}"
        for at, count in enumerate(counts)
        if count
    )
    return Raw(f'<svg width="{width}" height="{height}" role="img" aria-label="histogram"><path d="{path}"/></svg>')
