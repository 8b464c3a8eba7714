"""Forecasts: the newest from memory, older ones from ClickHouse, one by its id."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import PathParameter

from api.answers import History, after, answer, history, known, sources, window_of
from api.context import ApiContext
from api.problems import NO_FORECAST, NOT_FOUND, no_forecast
from api.routes.parameters import (
    Cursor,
    From,
    Horizon,
    Limit,
    OptionalPair,
    PairName,
    To,
    history_answers,
    json_answers,
)
from api.rows import error_row, forecast_row
from api.schemas import ForecastRow, Forecasts, LatestForecasts, OneForecast
from api.tokens import ID_MAX, BadTokenError, read_id
from redpanda.errors import UnreachableError
from tables.clickhouse import history as stored

__all__ = ["forecasts", "latest_forecasts", "one_forecast"]

Id = Annotated[
    str,
    PathParameter(
        name="id",
        max_length=ID_MAX,
        description="`id` of a forecast.",
        examples=[Example(value="WyJCVEMvVVNEIiwzMDAsMTUyNjE2OTYwMDAwMCwiZXdtYS12b2wiLCIxIl0")],
    ),
]


@get(
    "/v1/forecasts/latest",
    tags=["forecasts"],
    responses=json_answers(LatestForecasts, "By pair and horizon.", (404, NOT_FOUND)),
    summary="Newest forecast of each pair and horizon",
)
async def latest_forecasts(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: OptionalPair = None,
    horizon_s: Horizon = None,
) -> Response[bytes]:
    """Read from memory: as fresh as the topic. 503 until the API has caught up."""
    if not context.feed.ready:
        raise UnreachableError(f"the API is not ready: {context.feed.reason}")
    latest = context.latest.of(pair, horizon_s, stale=context.feed.stale)
    if pair is not None and not latest.rows:
        await known(context, pair)
    return latest.response(request.headers.get("accept-encoding"), request.headers.get("if-none-match"))


@get(
    "/v1/forecasts",
    tags=["forecasts"],
    responses=history_answers(Forecasts),
    summary="Forecasts of one pair, newest first",
)
async def forecasts(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: PairName,
    horizon_s: Horizon = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[bytes]:
    """Read from ClickHouse by `feature_open_ms`. 503 with Retry-After while the store is away."""
    window = window_of(context, from_, to, limit)
    question = ("forecasts", pair, horizon_s, window.from_ms, window.to_ms)
    key = after(cursor, question, stored.ForecastKey)

    def read(client: Any, rows: int) -> list[ForecastRow]:
        found = stored.forecasts(client, pair, horizon_s, window.from_ms, window.to_ms, rows, key)
        return [forecast_row(row) for row in found]

    return await history(
        request,
        context,
        History(
            "forecasts",
            ForecastRow,
            pair,
            question,
            window,
            read,
            lambda row: (row.feature_open_ms, row.horizon_s, row.revision, row.made_at_ms, row.model),
            window.to_ms if key is None else min(window.to_ms, key.feature_open_ms),
        ),
    )


@get(
    "/v1/forecasts/{id:str}",
    tags=["forecasts"],
    responses=json_answers(OneForecast, "The forecast.", (404, NO_FORECAST)),
    summary="One forecast and what became of it",
)
async def one_forecast(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    id_: Id,
) -> Response[bytes]:
    """Read from ClickHouse; of a candle that was corrected the forecast of the newest revision."""
    try:
        named = read_id(id_)
    except BadTokenError:
        raise no_forecast(id_) from None

    def read(client: Any) -> Any:
        made = stored.forecasts_of_bar(client, *named)
        return (made[0], stored.outcome(client, made[0])) if made else None

    found = await context.store.call(read)
    if found is None:
        raise no_forecast(id_)
    forecast, scored = found
    outcome = None if scored is None else error_row(scored)
    parts = {"id": id_, "forecast": forecast_row(forecast), "outcome": outcome}
    return answer(request, parts, sources(context, [forecast.source]))
