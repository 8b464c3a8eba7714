"""Bodies of the REST answers. Rows are the records of the topics as they are: times in epoch ms."""

import msgspec

from tables.records import Candle, Forecast

__all__ = [
    "Alive",
    "Candles",
    "Forecasts",
    "Index",
    "LatestForecasts",
    "Pair",
    "Pairs",
    "Readiness",
    "Reason",
]


class LatestForecasts(msgspec.Struct, frozen=True):
    """The newest forecast of each pair and horizon."""

    source: str
    """Where the data comes from: `kraken`, `sim` or `replay`; several are joined by commas."""
    simulated: bool
    """Some of the data is made up."""
    stale: bool
    """The API has lost the broker: newer ones may exist."""
    as_of_ms: int
    as_of: str
    """`as_of_ms` as RFC 3339."""
    forecasts: list[Forecast]


class Forecasts(msgspec.Struct, frozen=True):
    """Forecasts of the past, newest first."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    forecasts: list[Forecast]


class Candles(msgspec.Struct, frozen=True):
    """Closed candles, newest first."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    candles: list[Candle]


class Pair(msgspec.Struct, frozen=True):
    """One pair and what the store holds of it."""

    pair: str
    source: str
    simulated: bool
    candles: int
    first_ms: int | None
    """Start of the first candle; null where there is none yet."""
    last_ms: int | None


class Pairs(msgspec.Struct, frozen=True):
    """Every pair that can be asked for."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    pairs: list[Pair]


class Alive(msgspec.Struct, frozen=True):
    """The process works."""

    alive: bool
    dead_tasks: list[str]


class Reason(msgspec.Struct, frozen=True):
    """Why the API is not ready."""

    part: str
    """`feed` or `store`."""
    detail: str


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be answered."""

    ready: bool
    stale: bool
    """The broker is away: the latest values are old but served."""
    reasons: list[Reason]


class Index(msgspec.Struct, frozen=True):
    """Where to go from here."""

    name: str
    version: str
    source: str
    simulated: bool
    links: dict[str, str]


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one parameter."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """Problem Details (RFC 9457), `application/problem+json`."""

    type: str
    """`urn:tickcast:problem:` and the kind."""
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    """The parameters at fault."""
    instance: str | None = None
    """`urn:tickcast:request:` and the request's id, which X-Request-Id and the log also tell."""
