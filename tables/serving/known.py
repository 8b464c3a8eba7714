"""Point-in-time training sets: for each (pair, time) the features of the newest bar that had closed by then.

`ml/dataset.py` labels whole stored histories of one timeframe; this is for labels that come from elsewhere.

What is not undone: the store keeps the newest revision of a bar. A late trade that corrected it after the label's time
is in it (`revision` tells, and about one candle in thousands has one). `by_log` leaves such bars out, and takes the
one before: it compares as_of_ms, the broker's time, so it is of use where the topics were filled live and not for
history that was replayed later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from redpanda.errors import BadInputError
from tables.clickhouse import queries
from tables.clickhouse.client import store_errors
from tables.features import FEATURE_NAMES, FEATURE_SET
from tables.serving.latest import step_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from clickhouse_connect.driver import Client

__all__ = ["align", "point_in_time"]

NONE: Final = -1


def point_in_time(
    client: Client,
    pairs: Sequence[str],
    times_ms: Sequence[int],
    timeframe: str = "1m",
    *,
    max_age_ms: int | None = None,
    by_log: bool = False,
    feature_set: str = FEATURE_SET,
) -> dict[str, npt.NDArray[Any]]:
    """Give the features that were known at each (pair, time), row by row as asked.

    Parameters
    ----------
    pairs, times_ms
        One row each (ms since the epoch): when the label begins.
    max_age_ms
        A bar that closed earlier than this before the time is none; None: one bar, so that a gap gives no row.

    Returns
    -------
    dict
        Columns of the length of the request: `pair`, `time_ms`, `open_ms` (-1 where nothing was known), `revision`
        (-1 likewise), `synthetic`, and each feature (float64, NaN where it is not known).
    """
    step = step_ms(timeframe)
    asked, times = np.asarray(pairs, dtype=str), np.asarray(times_ms, dtype=np.int64)
    if asked.shape != times.shape or asked.ndim != 1:
        raise BadInputError(f"{asked.shape} pairs and {times.shape} times: give one of each for a row")
    age_ms = step if max_age_ms is None else max_age_ms
    bounds = (int(times.min()) - age_ms - step, int(times.max()) + 1) if len(times) else (0, 0)
    table = queries.feature_table(client, timeframe, sorted(set(pairs)), *bounds, feature_set=feature_set)
    if by_log and len(table["open_ms"]):
        table["as_of_ms"] = _as_of(client, timeframe, table)
    at = align(table, asked, times, step, age_ms)
    known = at != NONE
    columns: dict[str, npt.NDArray[Any]] = {"pair": asked, "time_ms": times}
    for name, kind, nothing in (("open_ms", np.int64, NONE), ("revision", np.int64, NONE), ("synthetic", bool, False)):
        columns[name] = np.full(len(times), nothing, dtype=kind)
        columns[name][known] = table[name][at[known]]
    for name in FEATURE_NAMES:
        columns[name] = np.full(len(times), np.nan)
        columns[name][known] = table[name][at[known]]
    return columns


def align(
    table: Mapping[str, npt.NDArray[Any]],
    pairs: npt.NDArray[np.str_],
    times_ms: npt.NDArray[np.int64],
    step: int,
    max_age_ms: int,
) -> npt.NDArray[np.int64]:
    """Find for each (pair, time) the row of the newest bar with open_ms + step <= time; -1 where there is none.

    Parameters
    ----------
    table
        Ordered by pair and `open_ms`; where it has `as_of_ms`, rows that account for trades after the time are none.
    step, max_age_ms
        Length of a bar, and how long ago it may have closed (ms).
    """
    found = np.full(len(times_ms), NONE, dtype=np.int64)
    for pair in np.unique(pairs):
        own = np.flatnonzero(table["pair"] == pair)
        if not len(own):
            continue
        mine = np.flatnonzero(pairs == pair)
        closes = table["open_ms"][own] + step
        place = np.searchsorted(closes, times_ms[mine], side="right") - 1
        if "as_of_ms" in table:
            as_of = table["as_of_ms"][own]
            for row, time_ms in enumerate(times_ms[mine]):  # few steps back: corrections are rare
                while place[row] >= 0 and as_of[place[row]] > time_ms:
                    place[row] -= 1
        good = place >= 0
        good[good] &= times_ms[mine][good] - closes[place[good]] < max_age_ms
        found[mine[good]] = own[place[good]]
    return found


def _as_of(client: Client, timeframe: str, table: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Read as_of_ms of every row of the table."""
    sql = (
        "SELECT pair, toUnixTimestamp64Milli(open_time), toUnixTimestamp64Milli(as_of) FROM features FINAL "
        "WHERE timeframe = {timeframe:String} AND pair IN {pairs:Array(String)} "
        "AND open_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') "
        "AND open_time <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')"
    )
    values = {
        "timeframe": timeframe,
        "pairs": sorted(set(table["pair"].tolist())),
        "from_ms": int(table["open_ms"].min()),
        "to_ms": int(table["open_ms"].max()),
    }
    with store_errors("reading features"):
        rows = client.query(sql, parameters=values).result_rows
    known = {(pair, open_ms): as_of_ms for pair, open_ms, as_of_ms in rows}
    never = np.iinfo(np.int64).max  # a row that was written between the two reads
    keys = zip(table["pair"].tolist(), table["open_ms"].tolist(), strict=True)
    return np.array([known.get(key, never) for key in keys], dtype=np.int64)
