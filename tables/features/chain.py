"""All features of one bar: the window, and every indicator on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from math import nan
from operator import itemgetter
from struct import Struct
from typing import Final, TypeAlias

from tables.features.catalog import Catalog
from tables.features.window import Window
from tables.records import Candle

__all__ = ["Chain", "Snapshot"]

Snapshot: TypeAlias = list[tuple[float, ...]] | bytes
"""State of all recurrences: the tuples themselves, or packed."""


class Chain:
    """Recurrences and window of one pair and timeframe."""

    def __init__(self, catalog: Catalog, step_ms: int) -> None:
        self.window: Final = Window(catalog.depths, catalog.sums, step_ms / 1_000)
        indicators = [indicator() for indicator in catalog.indicators]
        for indicator in indicators:
            indicator.pick = _picker([catalog.sums.index(pair) for pair in indicator.sums])
        self._updates = [indicator.update for indicator in indicators]
        self._stateful = [indicator for indicator in indicators if indicator.state]
        self._floats = Struct(f"<{catalog.state_size}d")
        self._warm_up = catalog.warm_up
        self._cold_bars = max(catalog.warm_up, default=0)

    def update(self, bar: Candle) -> list[float]:
        """Advance by one bar and give all features in the order of the catalogue; NaN where there is no value."""
        window = self.window
        window.push(bar)
        values: list[float] = []
        for update in self._updates:
            values += update(window)
        if window.bars <= self._cold_bars:
            bars = window.bars
            values = [value if bars > cold else nan for value, cold in zip(values, self._warm_up, strict=True)]
        return values

    def snapshot(self) -> Snapshot:
        """Give the state of every recurrence."""
        return [indicator.state for indicator in self._stateful]

    def packed(self, snapshot: Snapshot) -> bytes:
        """Give a snapshot as bytes, 8 a float."""
        if isinstance(snapshot, bytes):
            return snapshot
        return self._floats.pack(*[value for state in snapshot for value in state])

    def rewind(self, snapshot: Snapshot, bars: int) -> None:
        """Go back by so many bars (count), to the moment of `snapshot`."""
        self.recall(snapshot)
        self.window.drop(bars)

    def recall(self, snapshot: Snapshot) -> None:
        """Put every recurrence into the state of `snapshot`."""
        floats = iter(self._floats.unpack(self.packed(snapshot)))
        for indicator in self._stateful:
            indicator.state = tuple(islice(floats, len(indicator.state)))


def _picker(places: Sequence[int]) -> Callable[[Sequence[float]], tuple[float, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    # One place would give the number itself.
    return itemgetter(slice(places[0], places[0] + 1)) if places else itemgetter(slice(0))
