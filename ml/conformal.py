"""Split-conformal correction of quantiles (CQR; Romano, Patterson and Candes 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["apply_offsets", "conformal_offsets", "median_weight"]

_INTERVALS: Final = ((0, 4, 0.90), (1, 3, 0.50))
_WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


def median_weight(median: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Give how much of a median to believe, 0 for the last price, by the least error on a calibration block.

    Direction is the weakest signal there is; a median as trained is mostly noise where data are few.
    """
    errors = [float(np.abs(y - weight * median).mean()) for weight in _WEIGHTS]
    return _WEIGHTS[int(np.argmin(errors))]


def conformal_offsets(scaled: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give what to add to each quantile so that both intervals hold their share of a calibration block.

    Parameters
    ----------
    scaled
        Sorted quantiles [n, 5] of rows the model has not seen.
    y
        What happened, in the same unit [n].

    Returns
    -------
    Offsets [5]; the median stays, for its sampling error would be a drift.
    """
    offsets = np.zeros(5)
    for low, high, share in _INTERVALS:
        miss = np.maximum(scaled[:, low] - y, y - scaled[:, high])
        level = min(1.0, share * (1.0 + 1.0 / len(y)))
        offset = float(np.quantile(miss, level, method="higher"))
        offsets[low], offsets[high] = -offset, offset
    return offsets


def apply_offsets(scaled: npt.NDArray[np.float64], offsets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correct and sort: a negative offset may cross the median."""
    return np.sort(scaled + offsets, axis=1)
