"""Look at the model inputs: counts, quantiles, histogram, and how far the test block is from the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ml.input_drift import distances
from ml.inputs import CLOCK_INPUTS, INPUT_NAMES
from ml.report.content import FeatureProfile

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["ks", "profile", "psi"]

_BINS: Final = 24
_PSI_BINS: Final = 10
_MAX_ROWS: Final = 20_000  # of each side, evenly spaced: quantiles need no more


def profile(
    train: npt.NDArray[np.float32], test: npt.NDArray[np.float32], names: tuple[str, ...] = INPUT_NAMES
) -> list[FeatureProfile]:
    """Profile the columns of two matrices [n, len(names)]; NaN is a missing value."""
    every = [max(1, len(x) // _MAX_ROWS) for x in (train, test)]
    reference, current = train[:: every[0]].astype(np.float64), test[:: every[1]].astype(np.float64)
    return [
        _one(name, reference[:, at], current[:, at], float(np.isnan(train[:, at]).mean()) if len(train) else 0.0)
        for at, name in enumerate(names)
    ]


def _one(
    name: str, reference: npt.NDArray[np.float64], current: npt.NDArray[np.float64], missing: float
) -> FeatureProfile:
    known, now = reference[np.isfinite(reference)], current[np.isfinite(current)]
    if not len(known):
        return FeatureProfile(name, 0, missing, (0.0,) * 5, [], None, None)
    low, lower, middle, upper, high = np.quantile(known, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist()
    counts = np.histogram(known, _BINS, (low, high))[0].tolist() if high > low else [len(known)]
    both = len(now) > 0 and name not in CLOCK_INPUTS
    moved = (psi(known, now), ks(known, now)) if both else (None, None)
    return FeatureProfile(name, len(known), missing, (low, lower, middle, upper, high), counts, *moved)


def psi(reference: npt.NDArray[np.float64], current: npt.NDArray[np.float64]) -> float:
    """Give the population stability index over deciles of the reference; above 0.2 counts as moved."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, _PSI_BINS + 1)[1:-1]))
    shares = [
        np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1)[None, :] / len(x)
        for x in (reference, current)
    ]
    return float(distances(*shares)[0][0])


def ks(reference: npt.NDArray[np.float64], current: npt.NDArray[np.float64]) -> float:
    """Give the largest distance between two empirical distribution functions (0..1)."""
    both = np.concatenate([reference, current])
    below = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (reference, current)]
    return float(np.abs(below[0] - below[1]).max())
