"""Forecasts joined with what happened."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from api.answers import History, after, history, window_of
from api.context import ApiContext
from api.routes.parameters import Cursor, From, Horizon, Limit, PairName, To, history_answers
from api.rows import error_row
from api.schemas import ErrorRow, Errors
from tables.clickhouse import history as stored
from tables.records import DAY_MS, MINUTE_MS

__all__ = ["errors"]

LONGEST_MS = 8 * DAY_MS
"""By then even a forecast of the longest horizon is scored."""


@get(
    "/v1/errors",
    tags=["forecasts"],
    responses=history_answers(Errors),
    summary="Forecasts of one pair joined with what happened, newest first",
)
async def errors(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: PairName,
    horizon_s: Horizon = None,
    from_: From = None,
    to: To = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[bytes]:
    """Read from ClickHouse by `feature_open_ms`.

    `below` tells whether the outcome was below q05, q25, q50, q75 and q95.
    """
    window = window_of(context, from_, to, limit)
    question = ("errors", pair, horizon_s, window.from_ms, window.to_ms)
    key = after(cursor, question, stored.ErrorKey)

    def read(client: Any, rows: int) -> list[ErrorRow]:
        found = stored.errors(client, pair, horizon_s, window.from_ms, window.to_ms, rows, key)
        return [error_row(row) for row in found]

    return await history(
        request,
        context,
        History(
            "errors",
            ErrorRow,
            pair,
            question,
            window,
            read,
            lambda row: (row.feature_open_ms, row.horizon_s, row.model, row.model_version),
            window.to_ms if key is None else min(window.to_ms, key.feature_open_ms),
            LONGEST_MS if horizon_s is None else horizon_s * 1_000 + MINUTE_MS,
        ),
    )
