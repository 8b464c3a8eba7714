"""Bars as arrays, for the bulk path, and what its indicators share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import tulipy

__all__ = ["Array", "Columns", "left_pad", "ratio", "tulip", "windows"]

Array = npt.NDArray[np.float64]


class Columns:
    """Bars of one pair and timeframe, gapless and in time order; each column is made once, when it is asked for.

    Names are those of `tables.features.window`: raw and derived columns.

    Parameters
    ----------
    columns
        1-D arrays of equal length: `open_ms` (ms), and by need `open`, `high`, `low`, `close` (price), `volume`,
        `buy_volume` (base), `quote_volume` (quote), `trades` (count).
    step_ms
        Length of a bar (ms).

    """

    def __init__(self, columns: Mapping[str, npt.NDArray[np.generic]], step_ms: int) -> None:
        self.step_s = step_ms / 1_000
        self.open_ms = np.asarray(columns["open_ms"], dtype=np.int64)
        self.rows = len(self.open_ms)
        self._raw = columns
        # tulipy takes contiguous float64 and aligns unequal lengths without a word.
        self._column = cache(self._make)
        self.total = cache(self._total)
        """Sum of each window of a column (name, bars) by itself; NaN until there are enough."""

    def __getitem__(self, name: str) -> Array:
        return self._column(name)

    def _make(self, name: str) -> Array:
        derive = _DERIVE.get(name)
        if derive is not None:
            return derive(self)
        values = np.ascontiguousarray(self._raw[name], dtype=np.float64)
        if values.shape != (self.rows,):
            raise ValueError(f"column {name} has the shape {values.shape} instead of ({self.rows},)")
        return values

    def _total(self, name: str, bars: int) -> Array:
        values = self[name]
        return values if bars == 1 else left_pad(windows(values, bars).sum(axis=1), self.rows)


def _square(bars: Columns) -> Array:
    close = bars["close"]
    changes = np.log(close[1:] / close[:-1])
    return left_pad(changes * changes, bars.rows)


def _signed_volume(bars: Columns) -> Array:
    return left_pad(np.sign(np.diff(bars["close"])) * bars["volume"][1:], bars.rows)


_DERIVE: Final[dict[str, Callable[[Columns], Array]]] = {"square": _square, "signed_volume": _signed_volume}


def windows(values: Array, bars: int) -> Array:
    """Give a view of all windows of so many bars, shape (windows, bars)."""
    if len(values) < bars:
        return np.empty((0, bars))
    return np.lib.stride_tricks.sliding_window_view(values, bars)


def left_pad(values: Array, rows: int) -> Array:
    """Put NaN before `values` up to `rows`."""
    return np.concatenate((np.full(rows - len(values), np.nan), values))


def ratio(part: Array, total: Array) -> Array:
    """Divide; 0 where `total` is 0, NaN where it is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total == 0, 0.0, part / total)


def tulip(rows: int, outputs: int, indicator: Callable[..., Array | tuple[Array, ...]], *values: object) -> list[Array]:
    """Call tulipy and align what it gives to the right; all NaN where there are too few bars."""
    try:
        found = indicator(*values)
    except tulipy.InvalidOptionError:
        # The library's word for "too few bars"; its text is empty.
        return [np.full(rows, np.nan)] * outputs
    return [left_pad(output, rows) for output in (found if isinstance(found, tuple) else (found,))]
