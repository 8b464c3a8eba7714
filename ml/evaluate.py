"""How good a forecast was: loss, coverage and the Diebold-Mariano test, on log returns in basis points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ml.model import LEVELS
from tables.records import MINUTE_MS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Metrics", "diebold_mariano", "folds", "measure", "pinball", "skill"]

BPS: Final = 1e4
_LEVELS: Final = np.array(LEVELS)
_MEDIAN: Final = LEVELS.index(0.5)


class Metrics(msgspec.Struct, frozen=True):
    """One model on one set of rows."""

    rows: int
    pinball_bps: float
    """Mean over rows and the five levels."""
    mae_bps: float
    """Of the median."""
    rmse_bps: float
    direction: float
    """Share of moves whose sign the median had; 0.5 where either is zero throughout."""
    coverage50: float
    coverage90: float
    width50_bps: float
    width90_bps: float


def pinball(ret: npt.NDArray[np.float64], quantiles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the pinball loss of each row, mean over levels [n] (bps)."""
    miss = ret[:, None] - quantiles
    loss: npt.NDArray[np.float64] = np.maximum(_LEVELS * miss, (_LEVELS - 1.0) * miss).mean(axis=1) * BPS
    return loss


def measure(ret: npt.NDArray[np.float64], quantiles: npt.NDArray[np.float64]) -> Metrics:
    """Measure quantiles [n, 5] of log returns against what happened [n]."""
    median = quantiles[:, _MEDIAN]
    error = (ret - median) * BPS
    moved = (ret != 0.0) & (median != 0.0)
    inside = [
        float(((ret >= quantiles[:, low]) & (ret <= quantiles[:, high])).mean()) for low, high in ((1, 3), (0, 4))
    ]
    return Metrics(
        rows=len(ret),
        pinball_bps=float(pinball(ret, quantiles).mean()),
        mae_bps=float(np.abs(error).mean()),
        rmse_bps=float(math.sqrt((error**2).mean())),
        direction=float((np.sign(ret[moved]) == np.sign(median[moved])).mean()) if moved.any() else 0.5,
        coverage50=inside[0],
        coverage90=inside[1],
        width50_bps=float((quantiles[:, 3] - quantiles[:, 1]).mean() * BPS),
        width90_bps=float((quantiles[:, 4] - quantiles[:, 0]).mean() * BPS),
    )


def skill(loss: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float:
    """Share of the reference's loss that is saved; below zero it is worse."""
    total = float(reference.sum())
    return 1.0 - float(loss.sum()) / total if total > 0 else 0.0


def diebold_mariano(
    loss: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
    open_ms: npt.NDArray[np.int64],
    horizon_s: int,
) -> float:
    """Test whether a loss is lower than a reference's on the same rows.

    Rows of several pairs at one minute are one observation, for pairs move together; the variance is
    Newey-West's with lag h - 1 by timestamp (Diebold and Mariano 1995).

    Returns
    -------
    Standard normal under equal losses, negative where `loss` is lower, 0 where no row differs;
    NaN where it cannot be told.
    """
    difference = loss - reference
    if not difference.any():
        return 0.0
    if len(difference) < 2:  # noqa: PLR2004  # no variance
        return math.nan
    minute, at = np.unique(open_ms // MINUTE_MS, return_inverse=True)
    mean = float(difference.mean())
    excess = np.bincount(at, weights=difference - mean)
    variance = float(excess @ excess)
    lags = horizon_s // 60
    for lag in range(1, lags):
        later = np.minimum(np.searchsorted(minute, minute + lag), len(minute) - 1)
        together = minute[later] == minute + lag
        variance += 2.0 * (1.0 - lag / lags) * float(excess[together] @ excess[later[together]])
    if not variance > 0.0:
        return math.nan
    return mean * len(difference) / math.sqrt(variance)


def folds(open_ms: npt.NDArray[np.int64], horizon_s: int) -> list[npt.NDArray[np.intp]]:
    """Cut rows into consecutive stretches of equal time: 3 to 9, of 400 horizons where there are as many."""
    minutes = np.unique(open_ms // MINUTE_MS)
    count = int(min(9, max(3, len(minutes) * 60 // (400 * horizon_s))))
    edges = np.quantile(minutes, np.linspace(0.0, 1.0, count + 1)[1:-1], method="higher")
    fold = np.searchsorted(edges, open_ms // MINUTE_MS, side="right")
    return [np.flatnonzero(fold == index) for index in range(count) if np.any(fold == index)]


def as_percent(value: float) -> str:
    """Format a share for people."""
    return f"{value * 100:+.2f} %"


def plain(value: Any) -> Any:
    """Turn structs into what JSON knows."""
    return msgspec.to_builtins(value)
