"""The bulk path: the same features over whole arrays, with tulipy as the engine. Backfill, training, and oracle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tables.features.arrays import Array, Columns
from tables.features.catalog import CATALOG, Catalog

__all__ = ["Array", "feature_matrix"]


def feature_matrix(columns: Mapping[str, npt.NDArray[np.generic]], step_ms: int, catalog: Catalog = CATALOG) -> Array:
    """Compute all features of one pair and timeframe, gapless and in time order.

    Parameters
    ----------
    columns
        1-D arrays of n bars: `open_ms` (ms), `high`, `low`, `close` (price), `volume`, `buy_volume` (base),
        `quote_volume` (quote), `trades` (count).
    step_ms
        Length of a bar (ms).

    Returns
    -------
    float64 array of shape (n, len(catalog.names)), NaN until an indicator is warm.

    Raises
    ------
    ValueError
        Columns of unequal length.

    """
    bars = Columns(columns, step_ms)
    # One feature behind the other: writing columns into rows takes as long as computing them.
    matrix = np.empty((len(catalog.names), bars.rows))
    at = 0
    for indicator in catalog.indicators:
        for values in indicator.bulk(bars):
            matrix[at] = values
            at += 1
    return matrix.T
