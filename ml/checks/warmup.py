"""Proof that a restart changes no feature, and how much a cold start does.

A restart goes on from the row of the table and must give the same bits. A cold start knows nothing of what came
before: its first values differ from those of the whole history, and how fast they come near is told per feature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from ml.candle_file import Columns
from ml.checks.history import Matrix, Progress, candles, differing, fold_of, spread, values_of
from ml.model import WARM_UP_BARS
from redpanda.errors import BadInputError
from tables.features.catalog import CATALOG, Catalog
from tables.features.fold import PairFeatures, features_key

__all__ = ["AFTER", "ColdStart", "Difference", "Restarts", "WarmUp", "cold_starts", "fold_whole", "prove", "restarts"]

STOPS: Final = 50
STARTS: Final = 5
AFTER: Final = (WARM_UP_BARS, 400, 1_600)
"""Bars after which a cold start is measured beside the declared warm-up (count); the first is the trainer's."""
EQUAL: Final = 1e-9
"""Relative difference that counts as none."""
_SEED: Final = 20_180_513
Sizes = npt.NDArray[np.float64]
Restart = Callable[[PairFeatures, Catalog], PairFeatures]


class Difference(msgspec.Struct, frozen=True):
    """A feature that a restart has changed."""

    name: str
    row_ms: int
    """open_ms of the first row that differs."""
    stopped_ms: int
    """open_ms of the last row before that restart."""
    rows: int
    """That differ (count)."""
    largest: float
    """Relative difference, see `ColdStart.at_warm_up`."""


class Restarts(msgspec.Struct, frozen=True):
    """What stopping and starting came to."""

    rows: int
    stops: int
    state_bytes: int
    """Of the largest row of the table."""
    different: list[Difference]


class ColdStart(msgspec.Struct, frozen=True):
    """One feature after cold starts, against the whole history."""

    name: str
    warm_up: int
    """Bars before its first value, as its indicator declares (count)."""
    at_warm_up: float
    """Largest |cold - whole| / max(|whole|, median |whole|) of its first value over all starts: the median keeps
    features that cross zero from dividing by nothing."""
    after: list[float]
    """The same after `AFTER` bars, over what is left of the starts."""
    equal_after: int | None
    """Bars from which no difference is above `EQUAL`; None where that was not seen."""


class WarmUp(msgspec.Struct, frozen=True):
    """What both proofs came to over one pair."""

    first_ms: int
    last_ms: int
    restarts: Restarts
    cold_starts: list[ColdStart]


def prove(columns: Columns, tell: Progress, stops: int = STOPS) -> WarmUp:
    """Do both over one pair's history.

    Raises
    ------
    BadInputError
        Too few candles.
    """
    whole = fold_whole(columns, tell)
    first_ms, last_ms = int(columns["open_ms"][0]), int(columns["open_ms"][-1])
    return WarmUp(first_ms, last_ms, restarts(columns, whole, tell, stops=stops), cold_starts(columns, whole, tell))


def fold_whole(columns: Columns, tell: Progress, catalog: Catalog = CATALOG) -> Matrix:
    """Fold a history without a stop; gives the features [n, len(catalog.names)]."""
    return _fold(columns, "whole history", tell, catalog, set(), _go_on)[0]


def _go_on(fold: PairFeatures, catalog: Catalog) -> PairFeatures:
    """Stop and start: the row of the table is all that is left."""
    row = fold.pack()
    again = fold_of(catalog, {features_key(fold.pair, fold.timeframe): row}.get)
    if again.started_over:
        raise BadInputError("the fold does not read the row that it has written: see tables/features/state.py")
    return again


def _fold(
    columns: Columns, what: str, tell: Progress, catalog: Catalog, stops: set[int], restart: Restart
) -> tuple[Matrix, int]:
    rows = len(columns["open_ms"])
    matrix = np.empty((rows, len(catalog.names)))
    fold, largest = fold_of(catalog), 0
    for at, candle in enumerate(candles(columns)):
        (row,) = fold.apply(candle)
        matrix[at] = values_of(row)
        if at in stops:
            largest = max(largest, len(fold.pack()))
            fold = restart(fold, catalog)
        if at % 1_000 == 0:
            tell(what, at, rows)
    tell(what, rows, rows)
    return matrix, largest


def restarts(
    columns: Columns,
    whole: Matrix,
    tell: Progress,
    catalog: Catalog = CATALOG,
    stops: int = STOPS,
    restart: Restart = _go_on,
) -> Restarts:
    """Fold a history with stops at places drawn, also within the first bars; compare every row bit by bit.

    Parameters
    ----------
    whole
        What `fold_whole` gives.
    """
    rows = len(columns["open_ms"])
    early = {0, 1, 2, 13, 59}
    places = {at for at in early if at < rows} | set(spread(rows, stops, 1, _SEED))
    found, largest = _fold(columns, "with restarts", tell, catalog, places, restart)
    differs = differing(whole, found)
    sizes = _over(found, whole, _usual(whole))
    different = []
    for place in np.flatnonzero(differs.any(axis=0)).tolist():
        at = int(np.argmax(differs[:, place]))
        before = max(one for one in places if one < at) if at else 0
        different.append(
            Difference(
                name=catalog.names[place],
                row_ms=int(columns["open_ms"][at]),
                stopped_ms=int(columns["open_ms"][before]),
                rows=int(differs[:, place].sum()),
                largest=float(np.max(sizes[:, place])),
            )
        )
    return Restarts(rows, len(places), largest, different)


def _usual(whole: Matrix) -> Sizes:
    """Give the median |value| of each feature; 0 where there is none."""
    known = (np.abs(column[np.isfinite(column)]) for column in whole.T)
    return np.array([np.median(one) if len(one) else 0.0 for one in known])


def _over(found: Matrix, whole: Matrix, usual: Sizes) -> Matrix:
    """Give |found - whole| / max(|whole|, usual); 0 where both are NaN, infinite where one is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(found - whole) / np.maximum(np.abs(whole), usual)
    relative[found == whole] = 0.0
    relative[np.isnan(found) & np.isnan(whole)] = 0.0
    relative[np.isnan(relative)] = np.inf
    return relative


def cold_starts(
    columns: Columns, whole: Matrix, tell: Progress, catalog: Catalog = CATALOG, starts: int = STARTS
) -> list[ColdStart]:
    """Start the fold with nothing at places drawn, follow it, and compare with the whole history.

    Raises
    ------
    BadInputError
        The history is too short for the last of `AFTER`.
    """
    rows, follow = len(columns["open_ms"]), AFTER[-1]
    if rows < 2 * follow + 2:
        raise BadInputError(f"{rows:,} candles are too few for cold starts: needed are {2 * follow + 2:,} or more")
    usual = _usual(whole)
    # The whole history itself is young at its beginning: starts are in what follows.
    places = [at + follow for at in spread(rows - 2 * follow, starts, 0, _SEED)]
    worst = np.zeros((follow + 1, len(catalog.names)))
    for number, first in enumerate(places):
        fold = fold_of(catalog)
        found = np.empty((follow + 1, len(catalog.names)))
        for at, candle in enumerate(candles(columns, first, first + follow + 1)):
            (row,) = fold.apply(candle)
            found[at] = values_of(row)
        worst = np.maximum(worst, _over(found, whole[first : first + follow + 1], usual))
        tell("cold starts", number + 1, len(places))
    return [
        _cold(name, cold, worst[:, at])
        for at, (name, cold) in enumerate(zip(catalog.names, catalog.warm_up, strict=True))
    ]


def _cold(name: str, warm_up: int, worst: Matrix) -> ColdStart:
    above = np.flatnonzero(worst > EQUAL)
    equal_after = int(above[-1]) + 1 if len(above) else 0
    return ColdStart(
        name=name,
        warm_up=warm_up,
        at_warm_up=float(worst[warm_up]),
        after=[float(worst[bars:].max()) for bars in AFTER],
        equal_after=equal_after if equal_after < len(worst) else None,
    )
