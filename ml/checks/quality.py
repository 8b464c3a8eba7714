"""What a look at the raw columns tells: the figures of the quality report, and what they break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import pandas as pd

from ml.checks.contract import Breach, breaches_of, finite, sound, values
from ml.inputs import MIN_SIGMA
from ml.model import WARM_UP_BARS
from tables.features.catalog import FEATURE_NAMES
from tables.records import DAY_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["JUMP_LEAST", "JUMP_TIMES", "Gap", "Move", "Quality", "look", "newest_order", "warm"]

JUMP_TIMES: Final = 50.0
JUMP_LEAST: Final = 0.25
"""A row jumps where |ln(p / c)| > max(JUMP_TIMES * s, JUMP_LEAST) * sqrt(m): p its price farthest from c, the close
before it, m the minutes between them, and s = 1.4826 * median |ln(close / c)| of its pair and UTC day, moves of zero
left out. 1.4826 makes a normal distribution's median absolute deviation its standard deviation (Rousseeuw and Croux,
1993); a bad print hardly moves a median. 0.25 is +28 % or -22 % within a minute."""
_TO_SIGMA: Final = 1.4826
_LEAST_MOVES: Final = 60  # of a day; with fewer its scale is that of the pair
_SHOWN: Final = 5


class Gap(msgspec.Struct, frozen=True):
    """Minutes in a row that are missing."""

    pair: str
    from_ms: int
    """open_ms of the first."""
    minutes: int


class Move(msgspec.Struct, frozen=True):
    """A row's largest move from the close before it."""

    pair: str
    open_ms: int
    share: float
    """Price over that close, less 1."""
    times: float
    """The usual move of its day, scaled to the minutes between."""


class Quality(msgspec.Struct, frozen=True):
    """What a look at the raw columns tells."""

    rows: int
    pairs: int
    duplicates: int
    gaps: int
    """Missing minutes between the first and the last of each pair (count)."""
    synthetic: int
    bad_prices: int
    """Rows whose open, high, low, close are not positive and in order (count)."""
    cold: int
    """Rows with fewer than `WARM_UP_BARS` bars or without a volatility (count)."""
    nan_share: float
    """Of all feature values of warm rows (0..1)."""
    first_ms: int
    last_ms: int
    gap_runs: int = 0
    """Stretches of missing minutes (count)."""
    longest_gap: Gap | None = None
    first_gaps: list[Gap] = []
    """In time order, by pair."""
    late: int = 0
    """Rows that came behind a newer one of their pair (count)."""
    not_finite: int = 0
    """Rows with a price or volume that is missing or infinite (count)."""
    jumps: int = 0
    """Rows that jump, see `JUMP_TIMES` (count)."""
    largest_move: Move | None = None
    first_jumps: list[Move] = []
    broken: list[Breach] = []
    """Rules of the contract, in its order."""


def newest_order(pair: npt.NDArray[np.int32], open_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Order by pair and time and keep the last of equal keys."""
    order = np.lexsort((open_ms, pair))
    return np.asarray(order[~_repeated(pair[order], open_ms[order])], dtype=np.intp)


def _repeated(pair: npt.NDArray[Any], open_ms: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell which ordered rows have another one of their key behind them."""
    same = (np.diff(pair) == 0) & (np.diff(open_ms) == 0)
    return np.append(same, np.zeros(min(1, len(pair)), dtype=bool))


def warm(bars: npt.NDArray[Any], sigma: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which rows may be a base: bars enough, and a volatility (log return a minute)."""
    return np.asarray((bars >= WARM_UP_BARS) & np.isfinite(sigma) & (sigma > MIN_SIGMA))


def look(columns: Mapping[str, npt.NDArray[Any]]) -> Quality:
    """Look at 1m rows in the order in which they came, and hold them against the contract.

    Parameters
    ----------
    columns
        `pair`, `open_ms` (ms), open, high, low, close; by need volume, synthetic, `bars` and the features. Without
        features nothing is cold and none is missing.
    """
    names, codes = np.unique(np.asarray(columns["pair"], dtype=str), return_inverse=True)
    frame = _frame(columns, codes)
    rows = frame[~frame["repeated"]]
    gaps, jumps = rows[rows["minutes"] > 1], rows[rows["reach"] > 1]
    far = rows["share"].map(np.log1p).abs()
    longest = gaps.loc[[gaps["minutes"].idxmax()]] if len(gaps) else gaps
    largest = rows.loc[[far.idxmax()]] if far.notna().any() else rows[:0]
    return Quality(
        rows=len(frame),
        pairs=len(names),
        duplicates=len(frame) - len(rows),
        gaps=int((gaps["minutes"] - 1).sum()),
        synthetic=int(rows["synthetic"].sum()),
        bad_prices=int((finite(rows) & ~sound(rows)).sum()),
        cold=int((~rows["warm"]).sum()),
        nan_share=float(rows["missing"].mean()) if rows["missing"].notna().any() else 0.0,
        first_ms=int(rows["open_ms"].min()) if len(rows) else 0,
        last_ms=int(rows["open_ms"].max()) if len(rows) else 0,
        gap_runs=len(gaps),
        longest_gap=next(iter(_gaps(longest, names)), None),
        first_gaps=_gaps(gaps[:_SHOWN], names),
        late=int(frame["late"].sum()),
        not_finite=int((~finite(rows)).sum()),
        jumps=len(jumps),
        largest_move=next(iter(_moves(largest, names)), None),
        first_jumps=_moves(jumps[:_SHOWN], names),
        broken=breaches_of(frame),
    )


def _frame(columns: Mapping[str, npt.NDArray[Any]], codes: npt.NDArray[Any]) -> pd.DataFrame:
    """Give rows ordered by pair and time with all that `ml.checks.contract.SCHEMA` and the figures need."""
    raw_ms = np.asarray(columns["open_ms"], dtype=np.int64)
    order = np.lexsort((raw_ms, codes))
    frame = pd.DataFrame({"pair": codes[order], "open_ms": raw_ms[order]})
    for name in values(columns):
        frame[name] = np.asarray(columns[name], dtype=np.float64)[order]
    frame["synthetic"] = np.asarray(columns["synthetic"], dtype=bool)[order] if "synthetic" in columns else False
    frame["late"] = _late(codes, raw_ms)[order]
    frame["repeated"] = _repeated(frame["pair"].to_numpy(), frame["open_ms"].to_numpy())
    frame["warm"], frame["missing"] = _warm_and_missing(columns, order)
    # Rows of one minute are one step of the market: what was written twice stands at the same distance.
    return frame.join(_steps(frame[~frame["repeated"]]))


def _late(pair: npt.NDArray[Any], open_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which rows, as they came, open before the row of their pair that came before them."""
    late = np.zeros(len(pair), dtype=bool)
    came = np.argsort(pair, kind="stable")
    late[came[1:]] = (np.diff(pair[came]) == 0) & (np.diff(open_ms[came]) < 0)
    return late


def _warm_and_missing(
    columns: Mapping[str, npt.NDArray[Any]], order: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Tell which rows are warm, and what share of the features each warm one lacks; NaN elsewhere."""
    missing = np.full(len(order), np.nan)
    if "bars" not in columns:
        return np.ones(len(order), dtype=bool), missing
    is_warm = warm(np.asarray(columns["bars"]), np.asarray(columns["ewma_vol_60"], dtype=np.float64))[order]
    lacking = np.zeros(len(order))
    for name in FEATURE_NAMES:
        lacking += np.isnan(np.asarray(columns[name], dtype=np.float64))
    missing[is_warm] = lacking[order][is_warm] / len(FEATURE_NAMES)
    return is_warm, missing


def _steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Measure each row against the row before it: minutes between, largest move, and that over what is allowed."""
    same = rows["pair"].eq(rows["pair"].shift())
    minutes = (rows["open_ms"].diff() // MINUTE_MS).where(same)
    both = sound(rows) & sound(rows).shift(fill_value=False) & same
    last = rows["close"].shift().where(both)
    up, down = np.log(rows["high"].where(both) / last), np.log(rows["low"].where(both) / last)
    far = up.where(up.abs() >= down.abs(), down)
    steps = np.sqrt(minutes.clip(lower=1))
    usual = _scale(rows, np.log(rows["close"].where(both) / last).abs()) * steps
    allowed = np.maximum(JUMP_TIMES * usual, JUMP_LEAST * steps)
    return pd.DataFrame(
        {"minutes": minutes, "share": np.expm1(far), "reach": far.abs() / allowed, "times": far.abs() / usual}
    )


def _scale(rows: pd.DataFrame, moves: pd.Series) -> pd.Series:
    """Give each row the usual size of a move: s of `JUMP_TIMES`; 0 where its pair has not moved."""
    moved = moves.where(moves > 0)
    groups = moved.groupby([rows["pair"], rows["open_ms"] // DAY_MS])
    of_day = groups.transform("median").where(groups.transform("count") >= _LEAST_MOVES)
    of_pair = moved.groupby(rows["pair"]).transform("median")
    return _TO_SIGMA * of_day.fillna(of_pair).fillna(0.0)


def _gaps(rows: pd.DataFrame, names: npt.NDArray[Any]) -> list[Gap]:
    return [
        Gap(str(names[row.pair]), int(row.open_ms - (row.minutes - 1) * MINUTE_MS), int(row.minutes) - 1)
        for row in rows.itertuples()
    ]


def _moves(rows: pd.DataFrame, names: npt.NDArray[Any]) -> list[Move]:
    return [
        Move(str(names[row.pair]), int(row.open_ms), float(row.share), float(row.times)) for row in rows.itertuples()
    ]
