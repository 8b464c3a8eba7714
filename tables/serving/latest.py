"""The latest features of a pair from the first place that has fresh ones: broker, ClickHouse, RisingWave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from redpanda.errors import BadInputError, TickcastError, UnreachableError
from tables.records import TIMEFRAME_MS, Features

if TYPE_CHECKING:
    from tables.records import Timeframe

__all__ = ["Answer", "Miss", "Place", "read_latest", "step_ms"]

_BARS: Final = 2
"""A row is fresh for so many bars after its close: the next one is due after one."""


class Place(Protocol):
    """Somewhere that features are kept."""

    name: str

    def latest(self, pair: str, timeframe: str) -> Features | None:
        """Give the newest row, or None where there is none. Raises TickcastError while it cannot tell."""


class Miss(msgspec.Struct, frozen=True):
    """Why a place did not give the answer."""

    place: str
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """Features, and how far they can be trusted to be the latest."""

    features: Features
    place: str
    """`broker`, `clickhouse` or `risingwave`."""
    age_ms: int
    """Since the close of the bar (ms)."""
    fresh: bool
    """Whether that is within the bound that was asked for."""
    missed: tuple[Miss, ...]
    """Places that were asked before, each with its reason."""


def step_ms(timeframe: str) -> int:
    """Length of a bar (ms).

    Raises
    ------
    BadInputError
        No such timeframe.
    """
    if timeframe not in TIMEFRAME_MS:
        raise BadInputError(f"timeframe {timeframe!r} is unknown: use one of {', '.join(TIMEFRAME_MS)}")
    known: Timeframe = timeframe
    return TIMEFRAME_MS[known]


def read_latest(
    places: Sequence[Place], pair: str, timeframe: str, now_ms: int, max_age_ms: int | None = None
) -> Answer:
    """Ask one place after the other until one gives a fresh row; where none does, the newest of all, told as stale.

    Parameters
    ----------
    max_age_ms
        How long ago the bar may have closed (ms); None: two bars.

    Raises
    ------
    BadInputError
        Every place answered, and none has a row: the pair or timeframe is wrong, or nothing was computed yet.
    UnreachableError
        None has a row, and at least one could not be asked.
    """
    step = step_ms(timeframe)
    bound_ms = _BARS * step if max_age_ms is None else max_age_ms
    missed: list[Miss] = []
    away = False
    stale: list[tuple[Features, str, int]] = []
    for place in places:
        try:
            row = place.latest(pair, timeframe)
        except TickcastError as error:
            missed.append(Miss(place.name, str(error)))
            away = True
            continue
        if row is None:
            missed.append(Miss(place.name, "has no row"))
            continue
        age_ms = now_ms - row.open_ms - step
        if age_ms <= bound_ms:
            return Answer(row, place.name, age_ms, fresh=True, missed=tuple(missed))
        missed.append(Miss(place.name, f"its newest bar closed {age_ms / 1000:.0f} s ago"))
        stale.append((row, place.name, age_ms))
    if stale:  # the first of equals: it was asked first for a reason
        row, name, age_ms = max(stale, key=lambda found: (found[0].open_ms, found[0].as_of_ms))
        return Answer(row, name, age_ms, fresh=False, missed=tuple(miss for miss in missed if miss.place != name))
    told = "; ".join(f"{miss.place}: {miss.reason}" for miss in missed) or "no place is configured"
    if away:
        raise UnreachableError(f"no features of {pair} {timeframe} ({told}): start the stack, or mend its settings")
    raise BadInputError(f"no features of {pair} {timeframe} ({told}): see `tickcast topics list` and the worker's log")
