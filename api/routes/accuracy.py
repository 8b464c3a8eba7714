"""How good the forecasts were."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from api.answers import answer, known, past, sources
from api.context import ApiContext
from api.problems import NOT_FOUND
from api.routes.parameters import WINDOW_MS, Horizon, OptionalPair, To, WindowName, json_answers
from api.schemas import Accuracies
from tables.clickhouse import figures

__all__ = ["accuracy"]

Model = Annotated[
    str | None,
    QueryParameter(
        name="model",
        min_length=1,
        max_length=100,
        description="Name of a model, as the forecasts carry it. Default: all.",
        examples=[Example(value="catboost")],
    ),
]


@get(
    "/v1/accuracy",
    tags=["forecasts"],
    responses=json_answers(Accuracies, "By pair, horizon and version of a model.", (404, NOT_FOUND)),
    summary="Skill, coverage and losses of the forecasts of a window",
)
async def accuracy(
    request: Request[Any, Any, Any],
    context: NamedDependency[ApiContext],
    pair: OptionalPair = None,
    horizon_s: Horizon = None,
    model: Model = None,
    window: WindowName = "24h",
    to: To = None,
) -> Response[bytes]:
    """Score what became due (`target_ms`) within the window that ends at `to`, or now.

    Outcomes of minutes in which nothing traded are left out. A replay of old data is scored at its own times: set `to`.
    """
    length_ms = WINDOW_MS[window]
    from_ms, to_ms = past(length_ms, to)
    rows = await context.store.call(figures.accuracy, from_ms, to_ms, pair=pair, horizon_s=horizon_s, model=model)
    if pair is not None and not rows:
        await known(context, pair)
    found = {"window_s": length_ms // 1_000, "accuracy": rows}
    return answer(request, found, sources(context, ()))
