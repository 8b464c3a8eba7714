"""REST: latest values from the views, history from ClickHouse."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from api.context import ApiContext
from api.messages import SIMULATED
from api.problems import BAD_REQUEST, NOT_FOUND, UNAVAILABLE, bad_parameter, unknown_pair
from api.schemas import Candles, Forecasts, LatestForecasts, Pair, Pairs
from api.times import MAX_MS, now_ms, parse_ms, rfc3339
from redpanda.errors import UnreachableError
from tables.clickhouse import queries
from tables.records import Timeframe

__all__ = ["ROUTES", "SOURCE_HEADER"]

SOURCE_HEADER: Final = "X-Tickcast-Source"
Body = TypeVar("Body")
PROBLEMS: Final = {400: BAD_REQUEST, 404: NOT_FOUND, 503: UNAVAILABLE}

_PAIR: Final = QueryParameter(
    name="pair",
    min_length=1,
    max_length=40,
    description="Pair as Kraken's v2 API writes it; `/` may stand as it is or as `%2F`.",
    examples=[Example(value="BTC/USD")],
)
PairName = Annotated[str, _PAIR]
OptionalPair = Annotated[str | None, _PAIR]
TimeframeName = Annotated[Timeframe, QueryParameter(name="timeframe", description="Length of a candle.")]
Horizon = Annotated[
    int | None, QueryParameter(name="horizon_s", ge=1, le=604_800, description="Horizon of the forecast, s.")
]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="First time, included: epoch ms or RFC 3339 with offset. Default: the beginning.",
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to", description="Last time, not included: epoch ms or RFC 3339 with offset. Default: no end."
    ),
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, description="Rows at most; the newest are kept.")]


@get(
    "/v1/forecasts/latest",
    tags=["forecasts"],
    responses=PROBLEMS,
    summary="Newest forecast of each pair and horizon",
)
async def latest_forecasts(
    context: NamedDependency[ApiContext], pair: OptionalPair = None, horizon_s: Horizon = None
) -> Response[LatestForecasts]:
    """Read from memory: as fresh as the topic. 503 until the API has caught up."""
    if not context.feed.ready:
        raise UnreachableError(f"the API is not ready: {context.feed.reason}")
    if pair is not None:
        await _known(context, pair)
    rows = context.view.latest_forecasts(pair, horizon_s)
    label, simulated = _label(context, (row.source for row in rows))
    at_ms = now_ms()
    return _answer(LatestForecasts(label, simulated, context.feed.stale, at_ms, rfc3339(at_ms), rows), label)


@get("/v1/forecasts", tags=["forecasts"], responses=PROBLEMS, summary="Forecasts of one pair, newest first")
async def forecasts(
    context: NamedDependency[ApiContext],
    pair: PairName,
    horizon_s: Horizon = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
) -> Response[Forecasts]:
    """Read from ClickHouse by `feature_open_ms`. 503 with Retry-After while the store is away."""
    from_ms, to_ms = _window(context, from_, to, limit)
    rows = await context.store.call(queries.forecasts, pair, horizon_s, from_ms, to_ms, limit)
    if not rows:
        await _known(context, pair)
    label, simulated = _label(context, (row.source for row in rows))
    at_ms = now_ms()
    return _answer(Forecasts(label, simulated, at_ms, rfc3339(at_ms), rows), label)


@get(
    "/v1/candles",
    tags=["candles"],
    responses=PROBLEMS,
    summary="Closed candles of one pair, newest first",
)
async def candles(
    context: NamedDependency[ApiContext],
    pair: PairName,
    timeframe: TimeframeName = "1m",
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
) -> Response[Candles]:
    """Read from ClickHouse by `open_ms`. 503 with Retry-After while the store is away."""
    from_ms, to_ms = _window(context, from_, to, limit)
    rows = await context.store.call(queries.candles, pair, timeframe, from_ms, to_ms, limit)
    if not rows:
        await _known(context, pair)
    label, simulated = _label(context, (row.source for row in rows))
    at_ms = now_ms()
    return _answer(Candles(label, simulated, at_ms, rfc3339(at_ms), rows), label)


@get("/v1/pairs", tags=["pairs"], responses={503: UNAVAILABLE}, summary="Every pair, with what is stored of it")
async def pairs(context: NamedDependency[ApiContext]) -> Response[Pairs]:
    """Pairs of the store, of the feed and of TICKCAST_PAIRS."""
    rows: dict[str, Pair] = {}
    label = context.settings.label
    for name in sorted({*context.settings.pairs, *context.view.pairs()}):
        rows[name] = Pair(name, label, label == SIMULATED, 0, None, None)
    for info in await context.store.call(queries.pairs):
        rows[info.pair] = Pair(
            info.pair, info.source, info.source == SIMULATED, info.candles, info.first_ms, info.last_ms
        )
    stored = [row for row in rows.values() if row.candles]
    label, simulated = _label(context, (row.source for row in stored))
    at_ms = now_ms()
    body = Pairs(label, simulated, at_ms, rfc3339(at_ms), [rows[name] for name in sorted(rows)])
    return _answer(body, label)


ROUTES: Final[list[Any]] = [latest_forecasts, forecasts, candles, pairs]


def _answer(body: Body, label: str) -> Response[Body]:
    return Response(body, headers={SOURCE_HEADER: label})


def _label(context: ApiContext, sources: Iterable[str]) -> tuple[str, bool]:
    """Take the source from the records; the setting answers only where there are none."""
    found = sorted(set(sources)) or [context.settings.label]
    return ",".join(found), SIMULATED in found


def _window(context: ApiContext, from_: str | None, to: str | None, limit: int) -> tuple[int, int]:
    if limit > context.settings.api_page_max:
        raise bad_parameter("limit", f"at most {context.settings.api_page_max}")
    from_ms = 0 if from_ is None else _time("from", from_)
    to_ms = MAX_MS if to is None else _time("to", to)
    if from_ms >= to_ms:
        raise bad_parameter("from", "must lie before `to`")
    return from_ms, to_ms


def _time(field: str, text: str) -> int:
    try:
        return parse_ms(text)
    except ValueError as error:
        raise bad_parameter(field, str(error)) from None


async def _known(context: ApiContext, pair: str) -> None:
    if pair in context.settings.pairs or pair in context.view.pairs():
        return
    if all(info.pair != pair for info in await context.store.call(queries.pairs)):
        raise unknown_pair(pair)
