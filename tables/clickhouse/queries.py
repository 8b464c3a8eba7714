"""Readers. All read with FINAL: superseded rows stay on disk until a merge, and nobody may see them.

Time bounds are half-open, [from_ms, to_ms), in ms since the epoch.
"""

# ruff: noqa: S608  (what is put into the SQL are our own column lists; every value is a parameter)

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from tables.clickhouse.client import store_errors
from tables.clickhouse.reading import MAX_LIMIT, SETTINGS, bounds, known_timeframe, record_columns, select_rows, within
from tables.features import FEATURE_NAMES, FEATURE_SET
from tables.records import Candle, Forecast

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = [
    "MAX_LIMIT",
    "HoleHour",
    "PairInfo",
    "candles",
    "feature_table",
    "hole_hours",
    "latest_forecasts",
    "pairs",
]

_PAGE_ROWS: Final = 50_000


class PairInfo(msgspec.Struct, frozen=True):
    """What the store holds of one pair, from its 1m candles."""

    pair: str
    source: str
    """Of the newest candle: `kraken`, `sim` or `replay`."""
    first_ms: int
    last_ms: int
    """open_ms of the oldest and newest 1m candle."""
    candles: int


class HoleHour(msgspec.Struct, frozen=True):
    """What became of the holes of one pair that were found within one hour."""

    pair: str
    hour_ms: int
    """Start of the hour."""
    open: int
    repaired: int
    unrepairable: int
    """Holes in each state (count)."""
    open_ids: int
    repaired_ids: int
    unrepairable_ids: int
    """Trade ids in them (count)."""


_CANDLE_FIELDS: Final = record_columns("candles", Candle)
_FORECAST_FIELDS: Final = record_columns("forecasts", Forecast)


def candles(client: Client, pair: str, timeframe: str, from_ms: int, to_ms: int, limit: int) -> list[Candle]:
    """Read candles of one pair and timeframe, newest first."""
    rows = select_rows(
        client,
        f"SELECT {_CANDLE_FIELDS} FROM candles FINAL WHERE pair = {{pair:String}} AND timeframe = {{timeframe:String}} "
        f"AND {within('open_time')} ORDER BY open_time DESC LIMIT {{limit:UInt32}}",
        pair=pair,
        timeframe=known_timeframe(timeframe),
        **bounds(from_ms, to_ms, limit),
    )
    return [Candle(*row) for row in rows]


def latest_forecasts(client: Client) -> list[Forecast]:
    """Read the newest forecast of every pair and horizon, by pair and horizon.

    A pair whose newest is a week older than the newest of all has fallen silent and is left out.
    """
    rows = select_rows(
        client,
        # First the newest bar of each, from three columns of a week (the overall newest stands in the part headers);
        # then only those rows.
        f"SELECT {_FORECAST_FIELDS} FROM forecasts FINAL WHERE (pair, horizon_s, feature_open) IN "
        "(SELECT pair, horizon_s, max(feature_open) FROM forecasts "
        "WHERE feature_open > (SELECT max(feature_open) FROM forecasts) - INTERVAL 7 DAY GROUP BY pair, horizon_s) "
        "ORDER BY pair, horizon_s, revision DESC, made_at DESC LIMIT 1 BY pair, horizon_s",
    )
    return [Forecast(*row) for row in rows]


def pairs(client: Client) -> list[PairInfo]:
    """List the pairs that have 1m candles."""
    rows = select_rows(
        client,
        "SELECT pair, argMax(source, open_time), toUnixTimestamp64Milli(min(open_time)), "
        "toUnixTimestamp64Milli(max(open_time)), count() "
        "FROM candles FINAL WHERE timeframe = '1m' GROUP BY pair ORDER BY pair",
    )
    return [PairInfo(*row) for row in rows]


def hole_hours(client: Client, from_ms: int, to_ms: int) -> list[HoleHour]:
    """Count the holes found in a range by pair and hour, the newest hour first: the figures of data quality."""
    with store_errors("reading holes"):  # without SETTINGS: a hole may lie in two partitions
        rows = client.query(
            "SELECT pair, toUnixTimestamp(hour) * 1000, open, repaired, unrepairable, open_ids, repaired_ids, "
            f"unrepairable_ids FROM hole_hours WHERE {within('hour')} ORDER BY hour DESC, pair "
            "LIMIT {limit:UInt32}",
            parameters=bounds(from_ms, to_ms, MAX_LIMIT),
        ).result_rows
    return [HoleHour(*row) for row in rows]


_TABLE_COLUMNS: Final = (
    *("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades", "vwap"),
    *("revision", "synthetic", "bars"),
    *FEATURE_NAMES,
)


def feature_table(
    client: Client,
    timeframe: str,
    pairs: Sequence[str],
    from_ms: int,
    to_ms: int,
    *,
    feature_set: str = FEATURE_SET,
) -> dict[str, npt.NDArray[Any]]:
    """Read the training table, ordered by pair and open_ms.

    Returns
    -------
    dict
        Columns of one length: `pair` (str), `open_ms` (int64), open, high, low, close, volume, quote_volume,
        buy_volume, vwap (float64), trades, revision, bars (uint32), synthetic (bool), and one float64 column for
        each feature name, NaN where it is not warm. Rows of another feature set are left out.
    """
    limits = bounds(from_ms, to_ms, MAX_LIMIT)
    parts: list[npt.NDArray[Any]] = []
    names: list[npt.NDArray[Any]] = []
    for pair in sorted(set(pairs)):
        for page in _pages(client, known_timeframe(timeframe), pair, feature_set, limits):
            parts.append(page)
            names.append(np.full(len(page), pair))
    if not parts:
        return _empty_table()
    table: dict[str, npt.NDArray[Any]] = {"pair": np.concatenate(names)}
    for name in ("open_ms", *_TABLE_COLUMNS):
        table[name] = np.concatenate([page[name] for page in parts])
    return table


def _pages(
    client: Client, timeframe: str, pair: str, feature_set: str, limits: dict[str, int]
) -> list[npt.NDArray[Any]]:
    """Read one pair in pages, so that no answer is large, each starting after the last row of the one before."""
    sql = (
        f"SELECT toUnixTimestamp64Milli(open_time) AS open_ms, {', '.join(_TABLE_COLUMNS)} FROM features FINAL "
        "WHERE pair = {pair:String} AND timeframe = {timeframe:String} AND feature_set = {feature_set:String} "
        f"AND {within('open_time')} ORDER BY open_time LIMIT {_PAGE_ROWS}"
    )
    found: list[npt.NDArray[Any]] = []
    parameters: dict[str, Any] = {"pair": pair, "timeframe": timeframe, "feature_set": feature_set, **limits}
    while True:
        with store_errors("reading features"):
            page: npt.NDArray[Any] = client.query_np(sql, parameters=parameters, settings=SETTINGS)
        if len(page):
            found.append(page)
        if len(page) < _PAGE_ROWS:
            return found
        parameters["from_ms"] = int(page["open_ms"][-1]) + 1


def _empty_table() -> dict[str, npt.NDArray[Any]]:
    kinds = {"trades": np.uint32, "revision": np.uint32, "bars": np.uint32, "synthetic": np.bool_}
    table: dict[str, npt.NDArray[Any]] = {
        "pair": np.empty(0, dtype=np.str_),
        "open_ms": np.empty(0, dtype=np.int64),
    }
    return table | {name: np.empty(0, dtype=kinds.get(name, np.float64)) for name in _TABLE_COLUMNS}
