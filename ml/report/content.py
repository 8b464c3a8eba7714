"""What a page is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ml.leaderboard import Leaderboard
    from ml.training import HorizonReport
    from ml.tuning import Trial

__all__ = ["Content", "FeatureProfile", "Line", "lines"]


class FeatureProfile(NamedTuple):
    """One model input over the training rows, and what became of it in the test block."""

    name: str
    rows: int
    """With a value (count)."""
    missing: float
    """Share of rows without one."""
    quantiles: tuple[float, float, float, float, float]
    """At 1, 25, 50, 75, 99 %."""
    histogram: list[int]
    """Equal bins between the 1 % and the 99 % quantile (count)."""
    psi: float | None
    """Population stability index, test block against training rows; None where either has no values, and of
    the clock."""
    ks: float | None
    """Largest distance of the two distribution functions (Kolmogorov-Smirnov)."""


@dataclass(frozen=True, slots=True)
class Content:
    """One training of one horizon."""

    report: HorizonReport
    pairs: tuple[str, ...]
    source: str
    code: str
    feature_set: str
    input_set: str
    made_ms: int
    features: list[FeatureProfile] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    leaderboard: Leaderboard | None = None
    """Of a walk-forward; None: the models of this training on its own test block stand in."""


class Line(NamedTuple):
    """One model on all rows of the leaderboard."""

    model: str
    rows: int
    pinball_bps: float
    pinball_skill: float | None
    mae_bps: float
    mae_skill: float | None
    rmse_bps: float
    direction: float
    coverage50: float
    coverage90: float
    width90_bps: float


def lines(content: Content) -> list[Line]:
    """Give the leaderboard, best pinball first: the walk-forward's where there is one, else this training's."""
    if content.leaderboard is not None:
        found = [(one.model, one.metrics) for one in content.leaderboard.standings if one.fold is None and not one.pair]
    else:
        found = list(content.report.metrics.items())
    reference = next((metrics for name, metrics in found if name in {"baseline", "ewma-vol"}), None)
    rows = []
    for name, one in found:
        base = reference if reference is not None and reference.pinball_bps > 0 and reference.mae_bps > 0 else None
        rows.append(
            Line(
                model=name,
                rows=one.rows,
                pinball_bps=one.pinball_bps,
                pinball_skill=1 - one.pinball_bps / base.pinball_bps if base else None,
                mae_bps=one.mae_bps,
                mae_skill=1 - one.mae_bps / base.mae_bps if base else None,
                rmse_bps=one.rmse_bps,
                direction=one.direction,
                coverage50=one.coverage50,
                coverage90=one.coverage90,
                width90_bps=one.width90_bps,
            )
        )
    return sorted(rows, key=lambda line: line.pinball_bps)
