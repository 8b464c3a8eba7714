"""What the leaderboard needs of a model: how it is fitted, and log-return quantiles of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.dataset import Samples
from ml.model import LEVELS

__all__ = ["Blocks", "Candidate", "Predict", "scale"]

Quantiles = npt.NDArray[np.float64]
Predict = Callable[[Samples], Quantiles]
"""Log-return quantiles [n, 5], sorted, of rows [n]."""
MEDIAN: Final = LEVELS.index(0.5)


@dataclass(frozen=True, slots=True)
class Blocks:
    """What a model may look at before a fold is tested."""

    horizon_s: int
    train: Samples
    """Every h-th label: they do not overlap."""
    calibration: Samples
    """Later than `train`; no label of one reaches into the other."""
    threads: int
    seed: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of the leaderboard."""

    name: str
    about: str
    fit: Callable[[Blocks], Predict]
    """Raises `MissingToolError` where its package is not installed."""


def root_minutes(horizon_s: int) -> float:
    """Give what a volatility per minute is multiplied by."""
    return float(np.sqrt(horizon_s / 60))


def scale(rows: Samples, horizon_s: int) -> npt.NDArray[np.float64]:
    """Give the volatility over the horizon of each row [n, 1] (log return)."""
    return (rows.sigma * root_minutes(horizon_s))[:, None]
