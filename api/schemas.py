"""Bodies of the REST answers. Rows are the records of the topics as they are: times in epoch ms."""

import msgspec

from tables.clickhouse.figures import Accuracy, PairQuality
from tables.records import Candle, Features, Forecast, Scored

__all__ = [
    "Accuracies",
    "Alive",
    "Candles",
    "ErrorRow",
    "Errors",
    "FeatureRows",
    "ForecastRow",
    "Forecasts",
    "Index",
    "LatestForecasts",
    "ModelRow",
    "Models",
    "OneForecast",
    "Pair",
    "Pairs",
    "Problem",
    "Qualities",
    "Readiness",
    "Reason",
]


class ForecastRow(Forecast, frozen=True):
    """A forecast and its name."""

    id: str
    """Url-safe; the same whenever it is asked for: GET /v1/forecasts/{id}."""


class ErrorRow(Scored, frozen=True):
    """A forecast joined with what happened, and its name."""

    id: str
    """Of the forecast."""


class LatestForecasts(msgspec.Struct, frozen=True):
    """The newest forecast of each pair and horizon."""

    source: str
    """Where the data comes from: `kraken`, `sim` or `replay`; several are joined by commas."""
    simulated: bool
    """Some of the data is made up."""
    stale: bool
    """The API has lost the broker: newer ones may exist."""
    as_of_ms: int
    """When they were the newest: at most 0.1 s ago."""
    as_of: str
    """`as_of_ms` as RFC 3339."""
    forecasts: list[ForecastRow]


class Forecasts(msgspec.Struct, frozen=True):
    """Forecasts of the past, newest first."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    forecasts: list[ForecastRow]
    next: str | None
    """Cursor of the next page; null on the last one."""


class OneForecast(msgspec.Struct, frozen=True):
    """A forecast with what became of it."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    id: str
    forecast: ForecastRow
    outcome: ErrorRow | None
    """Null until the candle at `target_ms` has closed and been scored."""


class Errors(msgspec.Struct, frozen=True):
    """Forecasts of the past joined with what happened, newest first."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    errors: list[ErrorRow]
    next: str | None


class Candles(msgspec.Struct, frozen=True):
    """Closed candles, newest first."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    candles: list[Candle]
    next: str | None


class FeatureRows(msgspec.Struct, frozen=True):
    """Closed candles with their indicators, newest first."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    features: list[Features]
    next: str | None


class Accuracies(msgspec.Struct, frozen=True):
    """How good the forecasts of a window were, by pair, horizon and version of a model."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    window_s: int
    accuracy: list[Accuracy]


class Qualities(msgspec.Struct, frozen=True):
    """How whole the data of a window is, by pair."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    window_s: int
    pairs: list[PairQuality]


class ModelRow(msgspec.Struct, frozen=True):
    """One version of the model of a horizon under one alias; one that has several aliases has a row for each."""

    horizon_s: int
    model: str
    """`ewma-vol` (the baseline) or `catboost`."""
    alias: str | None
    """`champion` is served, `challenger` is the newest trained, `previous` was champion before; null for the rest."""
    version: str
    created_ms: int
    trained_from_ms: int | None
    trained_to_ms: int | None
    """First and last candle of its data; null for the baseline, which learns nothing."""
    feature_set: str
    verdict: str
    """`promote` or `refuse`, as the gate said; empty for the baseline."""
    report: str | None
    """Where its report is; null where there is none, or no alias to ask for it by."""


class Models(msgspec.Struct, frozen=True):
    """Versions of the registry, by horizon, those with an alias first, then the newest."""

    source: str
    simulated: bool
    as_of_ms: int
    as_of: str
    models: list[ModelRow]


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
