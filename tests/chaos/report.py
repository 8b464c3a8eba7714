"""The ledger of a run: a table for people, one line for scripts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

from rich.table import Table

from tests.chaos.judge import PLACES, Verdict
from tests.chaos.schedule import KILLING, Kind

__all__ = ["Run", "as_table", "ledger"]


@dataclass
class Run:
    """How a run went, apart from what came of it."""

    started_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    blows: dict[Kind, int] = field(default_factory=dict)
    recoveries_s: list[float] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    exits_without_broker: int = 0
    kills_at_work: int = 0
    rebuilds: int = 0
    unsettled: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(self.blows.get(kind, 0) for kind in KILLING)

    def seconds(self) -> float:
        return (self.ended_s or time.monotonic()) - self.started_s


def ledger(verdict: Verdict, kills: int, seed: int) -> str:
    """Give the line that scripts read."""
    return (
        f"ledger: lost={verdict.lost.total()} double={verdict.double.total()} different={verdict.different.total()} "
        f"kills={kills} seed={seed}"
    )


def as_table(run: Run, verdict: Verdict) -> Table:
    """Show blows, figures, and what each place was found to hold."""
    table = Table(title="ledger", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for kind, number in run.blows.items():
        table.add_row(str(kind), f"{number:,}")
    table.add_row(
        "of the kills: of a worker at work, and not yet live", f"{run.kills_at_work}, {run.kills - run.kills_at_work}"
    )
    table.add_section()
    for name, number in sorted(verdict.figures.items()):
        table.add_row(name, f"{number:,}")
    table.add_section()
    table.add_row("seconds", f"{run.seconds():.0f}")
    table.add_row("starts of a worker that came to be live", f"{len(run.recoveries_s):,}")
    if run.recoveries_s:
        table.add_row(
            "from start to live, median and longest", f"{median(run.recoveries_s):.1f} s, {max(run.recoveries_s):.1f} s"
        )
    table.add_row("workers that ended of themselves", f"{len(run.exits):,}")
    table.add_row("the same while the broker was away", f"{run.exits_without_broker:,}")
    table.add_row("rebuilds because rows were lost", f"{run.rebuilds:,}")
    table.add_section()
    for place in PLACES:
        counts = (verdict.lost[place], verdict.double[place], verdict.different[place])
        table.add_row(f"{place}: lost, double, different", ", ".join(f"{number:,}" for number in counts))
    return table
