"""Closed candles."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from api.answers import History, after, history, window_of
from api.context import ApiContext
from api.routes.parameters import Cursor, From, Limit, PairName, TimeframeName, To, history_answers
from api.schemas import Candles
from api.tokens import Int
from tables.clickhouse import queries
from tables.records import TIMEFRAME_MS, Candle

__all__ = ["candles"]


@get(
    "/v1/candles",
    tags=["candles"],
    responses=history_answers(Candles),
    summary="Closed candles of one pair, newest first",
)
async def candles(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: PairName,
    timeframe: TimeframeName = "1m",
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[bytes]:
    """Read from ClickHouse by `open_ms`. 503 with Retry-After while the store is away."""
    window = window_of(context, from_, to, limit)
    question = ("candles", pair, timeframe, window.from_ms, window.to_ms)
    last = after(cursor, question, tuple[Int])
    to_ms = window.to_ms if last is None else min(window.to_ms, last[0])
    return await history(
        request,
        context,
        History(
            "candles",
            Candle,
            pair,
            question,
            window,
            lambda client, rows: queries.candles(client, pair, timeframe, window.from_ms, to_ms, rows),
            lambda row: (row.open_ms,),
            to_ms,
            TIMEFRAME_MS[timeframe],
        ),
    )
