"""A history as the proofs take it, and indicators that break their promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ml.candle_file import Columns, histories_of
from tables.features.arrays import Array
from tables.features.arrays import Columns as Bars
from tables.features.indicator import Indicator
from tables.features.window import Window
from tests.support.feature_columns import clock_candles

__all__ = ["Forgetful", "Peeking", "Shared", "history", "quiet"]


def history(minutes: int, seed: int = 1) -> Columns:
    """Give one pair's columns as `ml.candle_file` does."""
    (found,) = histories_of(clock_candles(minutes, seed), "BTC/USD", "a test")
    return found.columns


def quiet(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


class _Toy(Indicator):
    about = ("A toy",)
    warm_up = (0,)
    inputs: ClassVar = {"close": 1}


class Peeking(_Toy):
    """Its bulk form knows the next close."""

    place = 9_001
    names = ("peeking",)

    def update(self, window: Window) -> tuple[float, ...]:
        return (window.close,)

    @classmethod
    def bulk(cls, bars: Bars) -> list[Array]:
        return [np.append(bars["close"][1:], np.nan)]


class Shared(_Toy):
    """Its live form remembers the highest close of every fold there ever was."""

    place = 9_002
    names = ("shared",)
    highest: ClassVar[float] = 0.0

    def update(self, window: Window) -> tuple[float, ...]:
        Shared.highest = max(Shared.highest, window.close)
        return (Shared.highest,)

    @classmethod
    def bulk(cls, bars: Bars) -> list[Array]:
        return [np.maximum.accumulate(bars["close"])]


class Forgetful(_Toy):
    """What it remembers is not in its state."""

    place = 9_003
    names = ("forgetful",)

    def __init__(self) -> None:
        super().__init__()
        self._highest = 0.0

    def update(self, window: Window) -> Sequence[float]:
        self._highest = max(self._highest, window.close)
        return (self._highest,)

    @classmethod
    def bulk(cls, bars: Bars) -> list[Any]:
        return [np.maximum.accumulate(bars["close"])]
