"""What `tickcast check` prints."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ml.checks.contract import contract, remedy, told

if TYPE_CHECKING:
    from ml.checks.quality import Quality

__all__ = ["data_json", "data_text"]

_WIDTH = 120


def data_json(whole: Quality, by_pair: Mapping[str, Quality]) -> dict[str, Any]:
    """Give all figures, and the contract as the gate says it (null: kept)."""
    return {
        "contract": contract(whole),
        "remedies": {one.rule: remedy(one) for one in whole.broken},
        "quality": to_builtins(whole),
        "pairs": {pair: to_builtins(one) for pair, one in by_pair.items()},
    }


def data_text(whole: Quality, by_pair: Mapping[str, Quality], *, features: bool) -> str:
    """Give the figures, one column a pair, then where gaps and jumps are, then the contract and what to do."""
    rows = [_figures(one) | (_of_features(one) if features else {}) for one in by_pair.values()]
    parts = [grid(("", *by_pair), [(name, *(row[name] for row in rows)) for name in rows[0]])]
    gaps = [gap for one in by_pair.values() for gap in one.first_gaps]
    if gaps:
        shown = [(one.pair, at(one.from_ms), f"{one.minutes:,}") for one in gaps]
        parts.append("first gaps\n" + grid(("pair", "from (UTC)", "minutes"), shown))
    jumps = [jump for one in by_pair.values() for jump in one.first_jumps]
    if jumps:
        moves = [(one.pair, at(one.open_ms), f"{one.share:+.2%}", f"{one.times:,.0f}") for one in jumps]
        parts.append("first jumps\n" + grid(("pair", "at (UTC)", "from the close before", "x usual move"), moves))
    if not whole.broken:
        return "\n".join([*parts, "contract: kept\n"])
    lines = []
    for one, words in zip(whole.broken, told(whole.broken), strict=True):
        lines += [f"  {one.rule}: {words}, the first at {at(one.first_ms)}", f"    -> {remedy(one)}"]
    return "\n".join([*parts, "contract: BROKEN", *lines])


def _figures(one: Quality) -> dict[str, str]:
    longest = f"{one.longest_gap.minutes:,} min from {at(one.longest_gap.from_ms)}" if one.longest_gap else "-"
    move = one.largest_move
    largest = f"{move.share:+.2%} ({move.times:,.0f} x usual) at {at(move.open_ms)}" if move else "-"
    return {
        "rows": f"{one.rows:,}",
        "from (UTC)": at(one.first_ms),
        "to (UTC)": at(one.last_ms),
        "missing minutes": f"{one.gaps:,} in {one.gap_runs:,} gaps",
        "longest gap": longest,
        "duplicates": f"{one.duplicates:,}",
        "behind a newer row": f"{one.late:,}",
        "not a number": f"{one.not_finite:,}",
        "prices out of order": f"{one.bad_prices:,}",
        "jumps": f"{one.jumps:,}",
        "largest move": largest,
        "synthetic": f"{one.synthetic / one.rows:.2%}" if one.rows else "-",
    }


def _of_features(one: Quality) -> dict[str, str]:
    return {"not warm yet": f"{one.cold:,}", "missing features": f"{one.nan_share:.2%} of warm rows"}


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay cells out in columns."""
    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(Text(name))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def at(at_ms: int) -> str:
    """Write a time to the minute, UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at_ms / 1_000))
