"""The gate: may a challenger be served? One pure function, no I/O, no clock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LIMITS", "Check", "Limits", "Verdict", "decide"]


class Limits(msgspec.Struct, frozen=True):
    """Bounds of the gate; why these: docs/adr/0011-promotion-gate.md."""

    dm: float = -1.645
    """Diebold-Mariano must be below: one-sided 5 %."""
    skill: float = 0.002
    """Least pinball skill over the baseline."""
    dm_expired: float = 1.645
    """Diebold-Mariano against a champion whose data are too old must be below: it only may not be better."""
    mae_dm: float = 1.645
    """Diebold-Mariano of the absolute error must be below."""
    coverage90: tuple[float, float] = (0.87, 0.93)
    folds_positive: float = 0.70
    """Least share of folds with positive skill."""


LIMITS: Final = Limits()


class Check(msgspec.Struct, frozen=True):
    """One condition."""

    name: str
    ok: bool
    value: float | str | None
    """What was measured; None where it could not be."""
    bound: str


class Verdict(msgspec.Struct, frozen=True):
    """Promote or refuse, and why."""

    promote: bool
    checks: list[Check]

    @property
    def reasons(self) -> list[str]:
        """Name the checks that failed."""
        return [check.name for check in self.checks if not check.ok]


def _below(name: str, value: float | None, bound: float) -> Check:
    known = value is not None and math.isfinite(value)
    return Check(name, known and value < bound, value if known else None, f"< {bound:g}")  # type: ignore[operator]


def decide(
    *,
    dm_baseline: float,
    dm_champion: float | None,
    skill: float,
    mae_dm: float,
    fold_coverage90: Sequence[float],
    fold_skill: Sequence[float],
    contract: str | None,
    hashes_match: bool,
    champion_expired: bool = False,
    limits: Limits = LIMITS,
) -> Verdict:
    """Decide on a challenger from evidence gathered on one common set of rows. All checks must hold.

    Parameters
    ----------
    dm_baseline, dm_champion
        Diebold-Mariano of the pinball loss against the volatility baseline and the champion; None where the
        champion could not be scored, which refuses.
    skill
        Pinball skill over the baseline (share).
    mae_dm
        Diebold-Mariano of the absolute error against the baseline.
    fold_coverage90, fold_skill
        Per fold of the test block.
    contract
        What the data broke; None for nothing.
    hashes_match
        Features and inputs of the challenger are those of this program.
    champion_expired
        The champion's data are older than a model may get: then a challenger that does as well is taken.
    """
    low, high = limits.coverage90
    known = len(fold_coverage90) > 0 and all(map(math.isfinite, fold_coverage90))
    worst = max(fold_coverage90, key=lambda share: abs(share - 0.9)) if known else math.nan
    positive = sum(value > 0 for value in fold_skill) / len(fold_skill) if fold_skill else math.nan
    checks = [
        _below("pinball beats the baseline (DM)", dm_baseline, limits.dm),
        _below("pinball not worse than the expired champion's (DM)", dm_champion, limits.dm_expired)
        if champion_expired
        else _below("pinball beats the champion (DM)", dm_champion, limits.dm),
        Check("pinball skill over the baseline", skill >= limits.skill, _known(skill), f">= {limits.skill:g}"),
        _below("absolute error not worse (DM)", mae_dm, limits.mae_dm),
        Check(
            "90 % interval holds in every fold",
            low <= worst <= high,
            _known(worst),
            f"in [{low:g}, {high:g}]",
        ),
        Check(
            "folds with positive skill",
            positive >= limits.folds_positive,
            _known(positive),
            f">= {limits.folds_positive:g}",
        ),
        Check("data contract", contract is None, contract or "kept", "kept"),
        Check("feature and input hashes", hashes_match, "equal" if hashes_match else "differ", "equal"),
    ]
    return Verdict(all(check.ok for check in checks), checks)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
