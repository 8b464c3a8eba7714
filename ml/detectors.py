"""What the drift of a model is seen with: a fast detector and a slow one, O(1) state each. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["LEAST_SHARE", "Cusum", "Skill", "weight"]

LEAST_SHARE: Final = 0.01
"""Least scale, as a share of the baseline's loss: the baseline as a model differs from it by next to nothing."""
_SKILL_WINDOW: Final = 10_080
"""Outcomes after which one has a weight of 1/e in the mean loss difference (count): a week."""
_SKILL_LEAST: Final = 1_440
"""Outcomes before which nothing is said of the skill (count)."""


def weight(horizon_s: int) -> float:
    """Give what an outcome counts: on real minutes h overlapping ones vary like (h + 1) / 2 of their own."""
    return 2.0 / (horizon_s / 60 + 1.0)


class Cusum(msgspec.Struct, array_like=True):
    """One detector. An alarm is raised at the bound and over at 0: as much for the model as there was against it."""

    sum: float = 0.0
    standing: bool = False
    since_ms: int = 0
    """Outcome with which the sum last left 0: about where the change was; after an alert, the next one (ms)."""
    outcomes: int = 0
    """Since then (count)."""
    seen: float = 0.0
    """Since then: sum of what was seen, in the unit of the detector's text."""
    expected: float = 0.0
    """Since then: sum of what was due."""

    def take(self, excess: float, bound: float, at_ms: int, seen: float, expected: float) -> bool:
        """Take one outcome; say whether the alarm has just changed."""
        if not self.outcomes or (self.sum <= 0.0 and not self.standing):
            self.since_ms, self.outcomes, self.seen, self.expected = at_ms, 0, 0.0, 0.0
        self.outcomes += 1
        self.seen += seen
        self.expected += expected
        # Held at the bound: what a long bad stretch adds would have to be worked off by a longer good one.
        self.sum = min(bound, max(0.0, self.sum + excess))
        if self.standing:
            self.standing = self.sum > 0.0
            return not self.standing
        self.standing = self.sum >= bound
        return self.standing


class Skill(msgspec.Struct, array_like=True):
    """Whether the model has been worse than the baseline over the long run."""

    difference: float = 0.0
    """Mean of the loss less the baseline's, in units of the forecast's volatility."""
    baseline: float = 0.0
    """Mean of the baseline's loss, in the same unit."""
    square: float = 0.0
    """Mean square of the difference."""
    standing: bool = False

    def take(self, difference: float, baseline: float, scored: int) -> None:
        """Take the `scored`th outcome of the version."""
        step = 1.0 / min(scored, _SKILL_WINDOW)
        self.difference += step * (difference - self.difference)
        self.baseline += step * (baseline - self.baseline)
        self.square += step * (difference * difference - self.square)

    def statistic(self, scored: int, horizon_s: int) -> float:
        """Give the mean difference in its standard errors: above 0 the model is the worse one."""
        if scored < _SKILL_LEAST:
            return 0.0
        scale = max(self.square**0.5, LEAST_SHARE * self.baseline)
        # An exponential mean of window w varies like a plain one of 2 w.
        independent = min(scored, 2 * _SKILL_WINDOW) * weight(horizon_s)
        return self.difference / scale * independent**0.5 if scale > 0 else 0.0
