"""Writers: records become native columns and one insert with a deduplication token.

The token names the batch (`topic-partition-first-last-number`). The same batch with the same token again is a no-op,
which does not always mean that its rows are there (tables/clickhouse/attempts.py). A batch that overlaps an older one
replaces its rows by key: readers use FINAL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from redpanda.errors import BadInputError
from tables.clickhouse.client import store_errors
from tables.clickhouse.columns import FEATURE_HEAD, TABLES, Column
from tables.features import FEATURE_NAMES
from tables.records import (
    Alert,
    Candle,
    DeadLetter,
    Features,
    Forecast,
    ForecastError,
    Hole,
    LateTrade,
    ModelInService,
    Trade,
)

if TYPE_CHECKING:
    from clickhouse_connect.driver import AsyncClient, Client

__all__ = [
    "Batch",
    "alert_batch",
    "candle_batch",
    "dead_letter_batch",
    "error_batch",
    "feature_batch",
    "forecast_batch",
    "hole_batch",
    "insert",
    "insert_alerts",
    "insert_async",
    "insert_candles",
    "insert_dead_letters",
    "insert_errors",
    "insert_features",
    "insert_forecasts",
    "insert_holes",
    "insert_late_trades",
    "insert_models",
    "insert_trades",
    "late_trade_batch",
    "model_batch",
    "trade_batch",
]


class Batch(NamedTuple):
    """Columns ready to be sent."""

    table: str
    data: Sequence[Any]
    rows: int


def candle_batch(rows: Sequence[Candle]) -> Batch:
    """Turn candles into columns."""
    return Batch("candles", _data(TABLES["candles"], rows), len(rows))


def forecast_batch(rows: Sequence[Forecast]) -> Batch:
    """Turn forecasts into columns."""
    return Batch("forecasts", _data(TABLES["forecasts"], rows), len(rows))


def error_batch(rows: Sequence[ForecastError]) -> Batch:
    """Turn scored forecasts into columns."""
    return Batch("forecast_errors", _data(TABLES["forecast_errors"], rows), len(rows))


def alert_batch(rows: Sequence[Alert]) -> Batch:
    """Turn alerts into columns."""
    return Batch("alerts", _data(TABLES["alerts"], rows), len(rows))


def hole_batch(rows: Sequence[Hole]) -> Batch:
    """Turn holes into columns."""
    return Batch("holes", _data(TABLES["holes"], rows), len(rows))


def trade_batch(rows: Sequence[Trade]) -> Batch:
    """Turn trades into columns."""
    return Batch("trades", _data(TABLES["trades"], rows), len(rows))


def late_trade_batch(rows: Sequence[LateTrade]) -> Batch:
    """Turn trades that no candle could take into columns."""
    return Batch("late_trades", _data(TABLES["late_trades"], rows), len(rows))


def model_batch(rows: Sequence[ModelInService]) -> Batch:
    """Turn models that went into service into columns."""
    return Batch("models", _data(TABLES["models"], rows), len(rows))


def dead_letter_batch(rows: Sequence[DeadLetter]) -> Batch:
    """Turn dead letters into columns."""
    return Batch("dead_letters", _data(TABLES["dead_letters"], rows), len(rows))


def feature_batch(rows: Sequence[Features]) -> Batch:
    """Turn features into columns: None becomes NaN.

    Raises
    ------
    BadInputError
        A row whose names are not those of the catalogue: it comes from another version.
    """
    data = [*_data(FEATURE_HEAD, rows), *_matrix([_values(row) for row in rows])] if rows else []
    return Batch("features", data, len(rows))


def insert(client: Client, batch: Batch, token: str) -> int:
    """Send a batch; returns its number of rows once the store has them on disk."""
    if batch.rows:
        with store_errors(f"inserting {batch.rows} rows into {batch.table}"):
            client.insert(**_arguments(batch, token))
    return batch.rows


async def insert_async(client: AsyncClient, batch: Batch, token: str) -> int:
    """Do what `insert` does, for asyncio."""
    if batch.rows:
        with store_errors(f"inserting {batch.rows} rows into {batch.table}"):
            await client.insert(**_arguments(batch, token))
    return batch.rows


def insert_candles(client: Client, rows: Sequence[Candle], token: str) -> int:
    """Insert candles; see `insert`."""
    return insert(client, candle_batch(rows), token)


def insert_features(client: Client, rows: Sequence[Features], token: str) -> int:
    """Insert features; see `insert`."""
    return insert(client, feature_batch(rows), token)


def insert_forecasts(client: Client, rows: Sequence[Forecast], token: str) -> int:
    """Insert forecasts; see `insert`."""
    return insert(client, forecast_batch(rows), token)


def insert_errors(client: Client, rows: Sequence[ForecastError], token: str) -> int:
    """Insert scored forecasts; see `insert`."""
    return insert(client, error_batch(rows), token)


def insert_alerts(client: Client, rows: Sequence[Alert], token: str) -> int:
    """Insert alerts; see `insert`."""
    return insert(client, alert_batch(rows), token)


def insert_holes(client: Client, rows: Sequence[Hole], token: str) -> int:
    """Insert holes; see `insert`."""
    return insert(client, hole_batch(rows), token)


def insert_trades(client: Client, rows: Sequence[Trade], token: str) -> int:
    """Insert trades; see `insert`."""
    return insert(client, trade_batch(rows), token)


def insert_late_trades(client: Client, rows: Sequence[LateTrade], token: str) -> int:
    """Insert trades that no candle could take; see `insert`."""
    return insert(client, late_trade_batch(rows), token)


def insert_models(client: Client, rows: Sequence[ModelInService], token: str) -> int:
    """Insert models that went into service; see `insert`."""
    return insert(client, model_batch(rows), token)


def insert_dead_letters(client: Client, rows: Sequence[DeadLetter], token: str) -> int:
    """Insert dead letters; see `insert`."""
    return insert(client, dead_letter_batch(rows), token)


def _data(columns: Sequence[Column], rows: Sequence[Any]) -> list[list[Any]]:
    return [list(map(attrgetter(column.field), rows)) for column in columns]


def _matrix(rows: Sequence[Iterable[float | None]]) -> npt.NDArray[np.float64]:
    """Give one contiguous row a feature; one walk over all values is three times as fast as a list of lists."""
    size = len(rows) * len(FEATURE_NAMES)
    try:
        flat = np.fromiter(chain.from_iterable(rows), np.float64, size)
    except TypeError:  # a None among them: an indicator that is not warm
        flat = np.array(list(chain.from_iterable(rows)), dtype=np.float64)
    return np.ascontiguousarray(flat.reshape(len(rows), len(FEATURE_NAMES)).T)


def _values(row: Features) -> Iterable[float | None]:
    values = row.values
    if tuple(values) == FEATURE_NAMES:  # the usual case: the same order
        return values.values()
    if values.keys() != set(FEATURE_NAMES):
        odd = sorted(values.keys() ^ set(FEATURE_NAMES))
        raise BadInputError(
            f"features of {row.pair} {row.timeframe} at {row.open_ms} have other names than the catalogue "
            f"({', '.join(odd[:5])}): they come from another version (feature_set {row.feature_set})"
        )
    return [values[name] for name in FEATURE_NAMES]


def _arguments(batch: Batch, token: str) -> dict[str, Any]:
    columns = TABLES[batch.table]
    return {
        "table": batch.table,
        "data": batch.data,
        "column_names": [column.name for column in columns],
        "column_type_names": [column.type for column in columns],
        "column_oriented": True,
        "settings": {
            "insert_deduplicate": 1,
            "insert_deduplication_token": token,
            "async_insert": 0,
            "distributed_foreground_insert": 1,  # on a cluster: acknowledged when the shards have it
            # Ten years of daily candles in one batch touch more months than the engine's default of 100.
            "max_partitions_per_insert_block": 0,
        },
    }
