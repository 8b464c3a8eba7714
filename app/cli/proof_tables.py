"""What `tickcast check` prints."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import to_builtins
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ml.checks.contract import contract, remedy, told
from ml.checks.warmup import AFTER
from ml.inputs import INPUT_NAMES
from tables.features import FEATURE_NAMES

if TYPE_CHECKING:
    from ml.checks.lookahead import Lookahead
    from ml.checks.quality import Quality
    from ml.checks.warmup import WarmUp

__all__ = ["as_json", "data_json", "data_text", "lookahead_text", "warmup_text"]

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


def lookahead_text(found: Mapping[str, Lookahead]) -> str:
    """Give a line for each feature, path by path, then inputs, labels and splits, then what leaks."""
    parts = []
    for pair, one in found.items():
        parts.append(f"{pair}: {one.rows:,} candles, {at(one.first_ms)} to {at(one.last_ms)}, {one.cuts} cuts\n")
        leaking = {(leak.kind, leak.name, leak.where) for leak in one.leaks}
        words = [
            (name, *("LEAK" if ("feature", name, path) in leaking else "ok" for path in ("live", "bulk")))
            for name in FEATURE_NAMES
        ]
        parts.append(grid(("feature", "live", "bulk"), words))
        inputs = {leak.name for leak in one.leaks if leak.kind == "input"}
        parts.append(f"model inputs: {len(inputs)} of {len(INPUT_NAMES)} leak, both paths")
        parts += [_labels(one, horizon) for horizon in one.labels]
        parts += [
            f"LEAK {leak.kind} {leak.name}, {leak.where}: row {at(leak.row_ms)} {leak.told}" for leak in one.leaks
        ]
        parts.append(
            "nothing reads the future" if not one.leaks else "mend what leaks before anything is trained on it"
        )
    return "\n".join(parts)


def _labels(one: Lookahead, horizon: str) -> str:
    blocks = one.splits[horizon]
    leaking = {leak.name for leak in one.leaks}
    label, split = ("LEAK" if f"{kind} {horizon}" in leaking else "ok" for kind in ("label", "split"))
    sizes = ", ".join(f"{name} {rows:,}" for name, rows in blocks.items())
    empty = "" if all(blocks.values()) else "; an empty block proves nothing: give more rows"
    return f"{horizon}: labels {label} ({one.labels[horizon]:,} looked at), split {split} ({sizes}){empty}"


def warmup_text(found: Mapping[str, WarmUp]) -> str:
    """Give what restarts changed, then a line for each feature after cold starts."""
    parts = []
    for pair, one in found.items():
        done = one.restarts
        parts.append(
            f"{pair}: {done.rows:,} candles, {at(one.first_ms)} to {at(one.last_ms)}\n"
            f"{done.stops} restarts, from rows of up to {done.state_bytes:,} bytes: "
            f"{len(done.different)} of {len(FEATURE_NAMES)} features differ in any bit"
        )
        parts += [
            f"DIFFERENT {bad.name}: {bad.rows:,} rows from {at(bad.row_ms)} on, by up to {bad.largest:.1e}, "
            f"after the stop at {at(bad.stopped_ms)}"
            for bad in done.different
        ]
        rows = [
            (
                cold.name,
                str(cold.warm_up),
                *(_tiny(value) for value in (cold.at_warm_up, *cold.after)),
                f"{cold.equal_after:,}" if cold.equal_after is not None else f"> {AFTER[-1]:,}",
            )
            for cold in one.cold_starts
        ]
        head = ("feature", "warm-up", "off at warm-up", *(f"after {bars:,}" for bars in AFTER), "equal after")
        parts += [_COLD, grid(head, rows)]
        parts.append("restarts change nothing" if not done.different else "restarts change features: mend their state")
    return "\n".join(parts)


_COLD: Final = """
Cold starts against the whole history: largest |cold - whole| / max(|whole|, median |whole|) of the first value, and of
all from so many bars on. 0: a window that forgets. Others remember: their difference fades, and is no fault.
"""


def _tiny(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}" if value < 1e-3 else f"{value:.1%}"  # noqa: PLR2004  # 0.1 %


def as_json(found: Mapping[str, object]) -> Any:
    """Give results by pair as plain values."""
    return to_builtins(found)


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
