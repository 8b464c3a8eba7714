"""One pair's history as both feature paths take it: candles for the live fold, columns for the bulk path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.candle_file import Columns, candle_of
from redpanda.errors import BadInputError
from tables.candles import CandleRules
from tables.features.bulk import feature_matrix
from tables.features.catalog import Catalog
from tables.features.fold import PairFeatures, refusal
from tables.records import MINUTE_MS, Candle, Features

__all__ = ["Matrix", "Progress", "bulk", "candles", "differing", "fold_of", "newest", "overwritten", "values_of"]

Matrix = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Takes what is being done, how far it is, how much there is."""
PAIR: Final = "CHECKED"
_PRICES: Final = ("open", "high", "low", "close")


def newest(columns: Columns, rows: int) -> Columns:
    """Give the newest rows (count)."""
    return {name: column[-rows:] for name, column in columns.items()}


def overwritten(columns: Columns, rows: npt.NDArray[np.bool_], seed: int) -> Columns:
    """Give a history of which some rows tell of another market: prices a third higher and uneven, volumes tripled."""
    chance = np.random.default_rng(seed)
    factor = np.where(rows, 1.3 * np.exp(chance.normal(0, 0.05, len(rows))), 1.0)
    changed = {name: column * factor for name, column in columns.items() if name in (*_PRICES, "quote_volume")}
    for name in ("volume", "quote_volume", "trades"):
        if name in columns:
            changed[name] = changed.get(name, columns[name]) * np.where(rows, 3.0, 1.0)
    return columns | changed


def candles(columns: Columns, first: int = 0, end: int | None = None) -> Iterator[Candle]:
    """Give rows as the candles stage would send them.

    Raises
    ------
    BadInputError
        A row that no worker would take.
    """
    for at in range(first, len(columns["open_ms"]) if end is None else end):
        candle = candle_of(PAIR, columns, at)
        if reason := refusal(candle):
            raise BadInputError(f"the candle at {candle.open_ms} ms: {reason}. Run `tickcast check data` on this file")
        yield candle


def fold_of(catalog: Catalog, get: Callable[[bytes], bytes | None] = lambda _: None) -> PairFeatures:
    """Make the fold as a worker with default settings has it; `get` reads its row of the table."""
    rules = CandleRules()
    return PairFeatures(PAIR, "1m", rules.retention_ms + rules.lateness_ms, get, catalog)


def values_of(row: Features) -> list[float]:
    """Give the features of a row in the order of the catalogue, NaN for what it does not have."""
    return [np.nan if value is None else value for value in row.values.values()]


def bulk(columns: Columns, catalog: Catalog) -> Matrix:
    """Give the features of the bulk path [n, len(catalog.names)]."""
    return feature_matrix(columns, MINUTE_MS, catalog)


def differing(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Tell where two matrices differ in any bit; NaN equals NaN."""
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))


def spread(rows: int, count: int, least: int, seed: int) -> Sequence[int]:
    """Draw so many places of a history of so many rows, ascending, none among the `least` first."""
    if rows <= least + 1:
        raise BadInputError(f"{rows:,} candles are too few to check: needed are {least + 2:,} or more")
    chance = np.random.default_rng(seed)
    places: list[int] = sorted(chance.choice(np.arange(least, rows - 1), min(count, rows - 1 - least), replace=False))
    return [int(one) for one in places]
