"""Which pairs there are."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from api.answers import answer, sources
from api.context import ApiContext
from api.messages import SIMULATED
from api.routes.parameters import json_answers
from api.schemas import Pair, Pairs
from tables.clickhouse import queries

__all__ = ["pairs"]


@get(
    "/v1/pairs",
    tags=["pairs"],
    responses=json_answers(Pairs, "All pairs by name."),
    summary="Every pair, with what is stored of it",
)
async def pairs(request: Request[Any, Any, Any], context: NamedDependency[ApiContext]) -> Response[bytes]:
    """Pairs of the store, of the feed and of TICKCAST_PAIRS."""
    rows: dict[str, Pair] = {}
    label = context.settings.label
    for name in sorted({*context.settings.pairs, *context.view.pairs()}):
        rows[name] = Pair(name, label, label == SIMULATED, 0, None, None)
    for info in await context.store.call(queries.pairs):
        rows[info.pair] = Pair(
            info.pair, info.source, info.source == SIMULATED, info.candles, info.first_ms, info.last_ms
        )
    labels = sources(context, (row.source for row in rows.values() if row.candles))
    return answer(request, {"pairs": [rows[name] for name in sorted(rows)]}, labels)
