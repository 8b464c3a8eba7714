"""How whole the data is."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from api.answers import answer, known, past, sources
from api.context import ApiContext
from api.problems import NOT_FOUND
from api.routes.parameters import WINDOW_MS, OptionalPair, To, WindowName, json_answers
from api.schemas import Qualities
from api.times import now_ms
from tables.clickhouse import figures

__all__ = ["quality"]


@get(
    "/v1/quality",
    tags=["quality"],
    responses=json_answers(Qualities, "By pair.", (404, NOT_FOUND)),
    summary="Lag, synthetic and corrected candles, holes in the trade ids",
)
async def quality(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: OptionalPair = None,
    window: WindowName = "24h",
    to: To = None,
) -> Response[bytes]:
    """Count the 1m candles opened, holes found and trades that came too late, in the window before `to`, or now."""
    length_ms = WINDOW_MS[window]
    from_ms, to_ms = past(length_ms, to)
    rows = await context.store.call(figures.quality, pair, from_ms, to_ms, now_ms())
    if pair is not None and not rows:
        await known(context, pair)
    wanted = {pair} if pair is not None else {*context.settings.pairs, *context.view.pairs()}
    rows += [figures.no_data(name) for name in wanted - {row.pair for row in rows}]
    found = {"window_s": length_ms // 1_000, "pairs": sorted(rows, key=lambda row: row.pair)}
    return answer(request, found, sources(context, ()))
