"""Readers of long histories in pages, newest first: a page continues after the key of the last row of the one before.

Rows that are appended meanwhile are newer than every key, so no page shifts. Time bounds are half-open.
"""

# ruff: noqa: S608  (what is put into the SQL are our own column lists; every value is a parameter)

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec

from tables.clickhouse.reading import bounds, known_timeframe, record_columns, select_rows, within
from tables.features import FEATURE_NAMES
from tables.records import Features, Forecast, Scored

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["ErrorKey", "ForecastKey", "errors", "features", "forecasts", "forecasts_of_bar", "outcome"]

_FEATURE_FIELDS: Final = record_columns("features", Features, without=("values",))
_FORECAST_FIELDS: Final = record_columns("forecasts", Forecast)
_ERROR_FIELDS: Final = record_columns("forecast_errors", Scored)
_AT_VALUES: Final = Features.__struct_fields__.index("values")


Int = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Text = Annotated[str, msgspec.Meta(max_length=200)]


class ForecastKey(NamedTuple):
    """Where a forecast stands in the history of its pair."""

    feature_open_ms: Int
    horizon_s: Int
    revision: Int
    made_at_ms: Int
    model: Text


class ErrorKey(NamedTuple):
    """Where a scored forecast stands in the history of its pair."""

    feature_open_ms: Int
    horizon_s: Int
    model: Text
    model_version: Text


def features(client: Client, pair: str, timeframe: str, from_ms: int, to_ms: int, limit: int) -> list[Features]:
    """Read features of one pair and timeframe by `open_ms`, newest first; a value that is not warm is None."""
    rows = select_rows(
        client,
        f"SELECT {_FEATURE_FIELDS}, {', '.join(FEATURE_NAMES)} FROM features FINAL "
        f"WHERE pair = {{pair:String}} AND timeframe = {{timeframe:String}} AND {within('open_time')} "
        "ORDER BY open_time DESC LIMIT {limit:UInt32}",
        pair=pair,
        timeframe=known_timeframe(timeframe),
        **bounds(from_ms, to_ms, limit),
    )
    size = len(rows[0]) - len(FEATURE_NAMES) if rows else 0
    return [_features(row[:_AT_VALUES], row[size:], row[_AT_VALUES:size]) for row in rows]


def _features(head: Any, values: Any, tail: Any) -> Features:
    named = {name: None if value != value else value for name, value in zip(FEATURE_NAMES, values, strict=True)}  # noqa: PLR0124  # only NaN differs from itself
    return Features(*(*head, named, *tail))


def forecasts(
    client: Client,
    pair: str,
    horizon_s: int | None,
    from_ms: int,
    to_ms: int,
    limit: int,
    after: ForecastKey | None = None,
) -> list[Forecast]:
    """Read forecasts of one pair by `feature_open_ms`, newest first; None for all horizons."""
    one_horizon = "" if horizon_s is None else "AND horizon_s = {horizon_s:UInt32}"
    parameters: dict[str, Any] = {} if horizon_s is None else {"horizon_s": horizon_s}
    later = ""
    if after is not None:
        to_ms = min(to_ms, after.feature_open_ms + 1)
        later = (
            "AND (-toUnixTimestamp64Milli(feature_open), toInt64(horizon_s), -toInt64(revision), "
            "-toUnixTimestamp64Milli(made_at), toString(model)) > "
            "({k0:Int64}, {k1:Int64}, {k2:Int64}, {k3:Int64}, {k4:String})"
        )
        parameters |= {"k0": -after.feature_open_ms, "k1": after.horizon_s, "k2": -after.revision}
        parameters |= {"k3": -after.made_at_ms, "k4": after.model}
    rows = select_rows(
        client,
        f"SELECT {_FORECAST_FIELDS} FROM forecasts FINAL WHERE pair = {{pair:String}} "
        f"AND {within('feature_open')} {one_horizon} {later} "
        "ORDER BY feature_open DESC, horizon_s, revision DESC, made_at DESC, model LIMIT {limit:UInt32}",
        pair=pair,
        **parameters,
        **bounds(from_ms, to_ms, limit),
    )
    return [Forecast(*row) for row in rows]


def errors(
    client: Client,
    pair: str,
    horizon_s: int | None,
    from_ms: int,
    to_ms: int,
    limit: int,
    after: ErrorKey | None = None,
) -> list[Scored]:
    """Read scored forecasts of one pair by `feature_open_ms`, newest first; None for all horizons."""
    one_horizon = "" if horizon_s is None else "AND horizon_s = {horizon_s:UInt32}"
    parameters: dict[str, Any] = {} if horizon_s is None else {"horizon_s": horizon_s}
    later = ""
    if after is not None:
        to_ms = min(to_ms, after.feature_open_ms + 1)
        later = (
            "AND (-toUnixTimestamp64Milli(feature_open), toInt64(horizon_s), toString(model), toString(model_version)) "
            "> ({k0:Int64}, {k1:Int64}, {k2:String}, {k3:String})"
        )
        parameters |= {"k0": -after.feature_open_ms, "k1": after.horizon_s}
        parameters |= {"k2": after.model, "k3": after.model_version}
    rows = select_rows(
        client,
        f"SELECT {_ERROR_FIELDS} FROM forecast_errors FINAL WHERE pair = {{pair:String}} "
        f"AND {within('feature_open')} {one_horizon} {later} "
        "ORDER BY feature_open DESC, horizon_s, model, model_version LIMIT {limit:UInt32}",
        pair=pair,
        **parameters,
        **bounds(from_ms, to_ms, limit),
    )
    return [_scored(row) for row in rows]


_ONE: Final = (
    "pair = {pair:String} AND horizon_s = {horizon_s:UInt32} AND model = {model:String} "
    "AND feature_open = fromUnixTimestamp64Milli({feature_open_ms:Int64}, 'UTC') "
    "AND model_version = {model_version:String}"
)


def forecasts_of_bar(
    client: Client, pair: str, horizon_s: int, feature_open_ms: int, model: str, model_version: str
) -> list[Forecast]:
    """Read what one version of a model made of one candle, the newest revision first; empty where it made nothing."""
    rows = select_rows(
        client,
        f"SELECT {_FORECAST_FIELDS} FROM forecasts FINAL WHERE {_ONE} ORDER BY revision DESC",
        pair=pair,
        horizon_s=horizon_s,
        feature_open_ms=feature_open_ms,
        model=model,
        model_version=model_version,
    )
    return [Forecast(*row) for row in rows]


def outcome(client: Client, made: Forecast) -> Scored | None:
    """Read what happened to a forecast; None where it is not scored yet."""
    rows = select_rows(
        client,
        f"SELECT {_ERROR_FIELDS} FROM forecast_errors FINAL WHERE {_ONE}",
        pair=made.pair,
        horizon_s=made.horizon_s,
        feature_open_ms=made.feature_open_ms,
        model=made.model,
        model_version=made.model_version,
    )
    return _scored(rows[0]) if rows else None


def _scored(row: Any) -> Scored:
    *head, below, scored_at_ms = row
    return Scored(*(*head, tuple(below), scored_at_ms))
