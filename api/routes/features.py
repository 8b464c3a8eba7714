"""Closed candles with their indicators."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from api.answers import History, after, history, window_of
from api.context import ApiContext
from api.routes.parameters import Cursor, From, Limit, PairName, TimeframeName, To, history_answers
from api.schemas import FeatureRows
from api.tokens import Int
from tables.clickhouse import history as stored
from tables.records import TIMEFRAME_MS, Features

__all__ = ["features"]


@get(
    "/v1/features",
    tags=["features"],
    responses=history_answers(FeatureRows),
    summary="Indicators of one pair, newest first",
)
async def features(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: PairName,
    timeframe: TimeframeName = "1m",
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[bytes]:
    """Read from ClickHouse by `open_ms`. A value is null until its indicator is warm.

    `feature_set` names the definitions: rows with different ones must not be mixed. In CSV and Arrow each
    indicator is a column.
    """
    window = window_of(context, from_, to, limit)
    question = ("features", pair, timeframe, window.from_ms, window.to_ms)
    last = after(cursor, question, tuple[Int])
    to_ms = window.to_ms if last is None else min(window.to_ms, last[0])
    return await history(
        request,
        context,
        History(
            "features",
            Features,
            pair,
            question,
            window,
            lambda client, rows: stored.features(client, pair, timeframe, window.from_ms, to_ms, rows),
            lambda row: (row.open_ms,),
            to_ms,
            TIMEFRAME_MS[timeframe],
        ),
    )
