"""Whether features are the same everywhere: topic, ClickHouse, and a recompute of the candles by the bulk path.

The topic and the store must be equal to the last bit: it is one row that was copied. The recompute is tulipy's. Its
recurrences are bit-identical too; sums over windows are added in another order and may differ in the last digits, so
what is within `TOLERANCE` of the column's size counts as close, and anything else as different.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from tables.records import Candle, Features

__all__ = ["TOLERANCE", "Parity", "Tally", "compare", "recompute", "ulps"]

TOLERANCE: Final = 1e-9
"""Of the greatest value of the column, as in tests/tables/features."""
Rows = dict[int, tuple[float, ...]]
"""Values in the order of FEATURE_NAMES by open_ms."""


class Tally(msgspec.Struct):
    """One indicator, one place against the topic."""

    name: str
    equal: int = 0
    close: int = 0
    different: int = 0
    missing: int = 0
    """Bars that one of the two lacks."""
    max_ulps: int = 0
    """Greatest distance in representable numbers, NaN against a number left out."""


class Parity(msgspec.Struct, frozen=True):
    """Both comparisons of one window."""

    pair: str
    timeframe: str
    from_ms: int
    to_ms: int
    """Open times of the first and last bar of the topic within the window."""
    bars: int
    store: list[Tally]
    recomputed: list[Tally]
    notes: list[str]
    """What could not be compared, and why."""

    @property
    def same(self) -> bool:
        """Whether there was something to compare, and nothing differs or is missing."""
        return bool(self.bars) and not any(one.different or one.missing for one in (*self.store, *self.recomputed))


def values_of(row: Features) -> tuple[float, ...]:
    """Values in the order of the catalogue; NaN where there is none."""
    return tuple(np.nan if (value := row.values.get(name)) is None else value for name in FEATURE_NAMES)


def ulps(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> list[int]:
    """How many representable doubles lie between two numbers; both zeros are one."""

    def ordered(values: npt.NDArray[np.float64]) -> list[int]:
        bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64).tolist()
        return [bit if bit >= 0 else -(bit & 0x7FFF_FFFF_FFFF_FFFF) for bit in bits]

    return [abs(a - b) for a, b in zip(ordered(left), ordered(right), strict=True)]


def compare(one: Rows, other: Rows, *, tolerance: float) -> list[Tally]:
    """Compare two places bar by bar, one tally an indicator."""
    both = sorted(one.keys() & other.keys())
    missing = len(one.keys() ^ other.keys())
    left = np.array([one[at] for at in both], dtype=np.float64).reshape(len(both), len(FEATURE_NAMES))
    right = np.array([other[at] for at in both], dtype=np.float64).reshape(left.shape)
    return [_tally(name, left[:, at], right[:, at], missing, tolerance) for at, name in enumerate(FEATURE_NAMES)]


def _tally(
    name: str, left: npt.NDArray[np.float64], right: npt.NDArray[np.float64], missing: int, tolerance: float
) -> Tally:
    tally = Tally(name, missing=missing)
    if not len(left):
        return tally
    nothing = np.isnan(left) & np.isnan(right)
    one_sided = np.isnan(left) != np.isnan(right)
    equal = nothing | (left == right)
    size = np.nanmax(np.abs(right), initial=0.0)
    near = ~equal & ~one_sided & (np.abs(left - right) <= tolerance * size)
    tally.equal, tally.close = int(equal.sum()), int(near.sum())
    tally.different = len(left) - tally.equal - tally.close
    odd = ~equal & ~one_sided
    tally.max_ulps = max(ulps(left[odd], right[odd]), default=0)
    return tally


def recompute(candles: Sequence[Candle], newest: Features, step: int) -> tuple[Rows, str]:
    """Compute what the fold should have said, by the bulk path; and why not, where it cannot.

    Parameters
    ----------
    candles
        In time order, up to the bar of `newest` and at least its `bars`: the recurrences begin with the first candle
        that the fold ever saw.
    """
    held = [candle for candle in candles if candle.open_ms <= newest.open_ms][-newest.bars :]
    if len(held) < newest.bars or not held or held[-1].open_ms != newest.open_ms:
        return {}, (
            f"the store holds {len(held)} of the {newest.bars} candles that the newest row was made of: "
            "nothing was recomputed"
        )
    columns: Mapping[str, npt.NDArray[Any]] = {
        name: np.array([getattr(candle, name) for candle in held])
        for name in ("open_ms", "open", "high", "low", "close", "volume", "buy_volume", "quote_volume", "trades")
    }
    matrix = feature_matrix(columns, step)
    return {candle.open_ms: tuple(row) for candle, row in zip(held, matrix.tolist(), strict=True)}, ""
