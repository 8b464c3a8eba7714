"""The leaderboard: every model against the EWMA-volatility baseline on the same rows, per fold and pair."""

from __future__ import annotations

import msgspec

from ml.evaluate import Metrics

__all__ = ["FoldSpan", "Leaderboard", "Standing"]


class FoldSpan(msgspec.Struct, frozen=True):
    """One fold of a walk-forward: trained before, tested once."""

    train_from_ms: int
    train_rows: int
    calibration_rows: int
    test_from_ms: int
    test_to_ms: int
    test_rows: int


class Standing(msgspec.Struct, frozen=True):
    """One model on one set of rows."""

    model: str
    fold: int | None
    """None: all folds."""
    pair: str
    """Empty: all pairs."""
    metrics: Metrics
    pinball_skill: float
    """Share of the baseline's loss that is saved."""
    mae_skill: float
    rmse_skill: float
    dm: float | None
    """Diebold-Mariano of the pinball loss against the baseline; None where it cannot be told."""
    dm_p: float | None
    """One-sided: that a model no better does as well."""
    mae_dm: float | None
    """The same of the absolute error; above 1.645 it is significantly worse."""


class Leaderboard(msgspec.Struct, frozen=True):
    """What a walk-forward of one horizon came to."""

    horizon_s: int
    pairs: tuple[str, ...]
    folds: list[FoldSpan]
    standings: list[Standing]
    """Best overall pinball first; then the folds and pairs of each."""
    calibration: dict[str, list[float]]
    """By model: share of outcomes below each of the five quantiles."""
