"""Is the process alive, can it answer, and where is what."""

from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from api.context import ApiContext
from api.messages import SIMULATED
from api.problems import RETRY_AFTER_S
from api.routes import SOURCE_HEADER
from api.schemas import Alive, Index, Readiness, Reason
from redpanda.errors import UnreachableError

__all__ = ["HEALTH"]


@get(
    "/health/live",
    tags=["health"],
    responses={503: ResponseSpec(Alive, generate_examples=False)},
    summary="Is the process alive?",
)
async def live(context: NamedDependency[ApiContext]) -> Response[Alive]:
    """503 where a background task has died: restart the process."""
    dead = context.dead_tasks()
    return Response(Alive(not dead, dead), status_code=503 if dead else 200)


@get(
    "/health/ready",
    tags=["health"],
    responses={503: ResponseSpec(Readiness, generate_examples=False)},
    summary="Can it answer?",
)
async def ready(context: NamedDependency[ApiContext]) -> Response[Readiness]:
    """503 with reasons until the feed has caught up, and while the store is away.

    A broker that goes away later only makes the feed stale: old values that say so are
    better than none.
    """
    reasons = [] if context.feed.ready else [Reason("feed", context.feed.reason or "catching up")]
    try:
        await context.store.ping()
    except UnreachableError:
        reasons.append(Reason("store", context.store.trouble))
    body = Readiness(not reasons, context.feed.stale, reasons)
    if reasons:
        return Response(body, status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    return Response(body)


@get("/v1", tags=["health"], summary="Where to go from here")
async def index(context: NamedDependency[ApiContext]) -> Response[Index]:
    """Links to everything else."""
    label = context.settings.label
    links = {
        "live page": "/",
        "latest forecasts": "/v1/forecasts/latest",
        "forecasts": "/v1/forecasts?pair=BTC/USD&limit=10",
        "candles": "/v1/candles?pair=BTC/USD&timeframe=1m&limit=10",
        "features": "/v1/features?pair=BTC/USD&timeframe=1m&limit=10",
        "errors": "/v1/errors?pair=BTC/USD&limit=10",
        "accuracy": "/v1/accuracy?window=24h",
        "models": "/v1/models",
        "quality": "/v1/quality?window=24h",
        "pairs": "/v1/pairs",
        "feed (WebSocket)": "/v1/feed",
        "ready": "/health/ready",
        "live": "/health/live",
        "documentation": "/schema",
        "OpenAPI": "/schema/openapi.json",
    }
    return Response(Index("tickcast", "v1", label, label == SIMULATED, links), headers={SOURCE_HEADER: label})


HEALTH: Final[list[Any]] = [live, ready, index]
