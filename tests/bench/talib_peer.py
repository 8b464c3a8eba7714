"""What TA-Lib has of our features: over whole arrays, and by its handles, which take one closed bar at a time.

A handle can be neither stored nor corrected: after a restart it is opened on history again. The folds here can be both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy.typing as npt
import talib

from tables.features.indicator import PERIODS

__all__ = ["Handles", "compute"]

Columns = Mapping[str, npt.NDArray[Any]]
_BAR: Final = ("high", "low", "close")


def _calls() -> list[tuple[str, tuple[str, ...], dict[str, float]]]:
    """Name the functions with their inputs and parameters: those of our indicators that TA-Lib has."""
    found: list[tuple[str, tuple[str, ...], dict[str, float]]] = []
    for name in ("SMA", "EMA", "RSI"):
        found += [(name, ("close",), {"timeperiod": period}) for period in PERIODS]
    found += [("ADX", _BAR, {"timeperiod": period}) for period in PERIODS]
    for period in PERIODS:
        spans = {"fastperiod": period, "slowperiod": 2 * period, "signalperiod": period}
        found.append(("MACD", ("close",), spans))  # type: ignore[arg-type]  # whole numbers are floats too
    found.append(("ATR", _BAR, {"timeperiod": 14}))
    found.append(("BBANDS", ("close",), {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}))
    return [*found, ("OBV", ("close", "volume"), {})]


def compute(columns: Columns) -> list[Any]:
    """Give the indicators of whole float64 arrays."""
    return [getattr(talib, name)(*(columns[one] for one in inputs), **given) for name, inputs, given in _calls()]


class Handles:
    """One handle an indicator, opened on history."""

    def __init__(self, history: Columns) -> None:
        self._updates: list[tuple[Callable[..., Any], tuple[str, ...]]] = []
        for name, inputs, given in _calls():
            handle = getattr(talib.stream, name)(*(history[one] for one in inputs), **given)
            self._updates.append((handle.update, inputs))

    def update(self, bar: Mapping[str, float]) -> list[Any]:
        """Take the next closed bar and give its indicators."""
        return [update(*[bar[one] for one in inputs]) for update, inputs in self._updates]
