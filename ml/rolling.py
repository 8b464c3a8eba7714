"""Rolling conformal correction: each quantile is moved by what its scored forecasts showed.

Quantile tracking after Gibbs and Candes (2021) and Angelopoulos, Candes and Tibshirani (2023, conformal PID): an
outcome below a quantile lowers it by (1 - level) steps, any other raises it by `level` steps, so that in the long run
the share below it is its level, whatever the market does. Five numbers of state; the predictor keeps them in a table.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ml.model import LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

__all__ = ["START", "Rolling", "below", "correct", "learn", "walk"]

_STEP: Final = 0.002
"""Of one outcome (scaled return). 0.002 costs 0.05 % of pinball, 0.01 eight times as much; a wrong outer quantile is
halved in some four thousand outcomes."""
_LIMIT: Final = 4.0
"""Largest offset (scaled return): a feed that is wrong for a day must not own the intervals."""
_MEDIAN: Final = LEVELS.index(0.5)


class Rolling(msgspec.Struct, frozen=True, array_like=True):
    """Offsets of one pair and horizon."""

    offsets: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """Added to the model's scaled quantiles, then sorted; the median's stays 0, for it would be a drift."""
    scored: int = 0
    """Outcomes learned from (count)."""


START: Final = Rolling()


def below(y: float, quantiles: Sequence[float]) -> tuple[bool, ...]:
    """Say of each published quantile whether the outcome was below it."""
    return tuple(y < quantile for quantile in quantiles)


def learn(state: Rolling, under: Sequence[bool]) -> Rolling:
    """Take one outcome in; `under` says of each published quantile whether the outcome was below it."""
    moved = [
        0.0 if at == _MEDIAN else min(_LIMIT, max(-_LIMIT, offset + _STEP * (level - hit)))
        for at, (offset, level, hit) in enumerate(zip(state.offsets, LEVELS, under, strict=True))
    ]
    return Rolling((moved[0], moved[1], moved[2], moved[3], moved[4]), state.scored + 1)


def correct(scaled: Sequence[float], state: Rolling) -> list[float]:
    """Apply the offsets to scaled quantiles [5] and sort."""
    return sorted([value + offset for value, offset in zip(scaled, state.offsets, strict=True)])


def walk(
    scaled: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    pair: npt.NDArray[np.int32],
    open_ms: npt.NDArray[np.int64],
    horizon_s: int,
) -> npt.NDArray[np.float64]:
    """Correct a stretch of forecasts as the predictor would have: from what was scored before each was made.

    Parameters
    ----------
    scaled
        Sorted quantiles of the model [n, 5], rows in time order within each pair.
    y
        What happened, in the same unit [n].
    pair, open_ms
        Whose each row is [n], and the start of its candle (ms) [n].

    Returns
    -------
    Corrected quantiles [n, 5].
    """
    out = np.empty_like(scaled)
    for code in np.unique(pair):
        rows = np.flatnonzero(pair == code)
        state, waiting = START, deque[int]()
        for row in rows.tolist():
            # A forecast and the outcome of the same minute are made side by side: only older ones are known.
            while waiting and open_ms[waiting[0]] + horizon_s * 1_000 < open_ms[row]:
                at = waiting.popleft()
                state = learn(state, below(y[at], out[at].tolist()))
            out[row] = correct(scaled[row].tolist(), state)
            waiting.append(row)
    return out
