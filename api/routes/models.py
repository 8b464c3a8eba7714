"""What the model registry holds."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from litestar import Request, Response, get
from litestar.di import NamedDependency

from api.answers import answer, sources
from api.context import ApiContext
from api.routes.parameters import Horizon, json_answers
from api.schemas import ModelRow, Models
from api.store import in_thread
from ml.registered import Registered, registered
from ml.settings import MlSettings
from redpanda.errors import UnreachableError

__all__ = ["ask_registry", "models"]

TIMEOUT_S: Final = 15.0
"""A registry server is asked through MLflow, which takes seconds to import the first time."""
OTHERS_MAX: Final = 20
"""Versions without an alias that are listed of each horizon, the newest (count)."""
T = TypeVar("T")


async def ask_registry(question: Callable[[], T]) -> T:
    """Ask in a thread; UnreachableError where there is no answer in time."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await in_thread(question)
    except TimeoutError as error:
        raise UnreachableError("the model registry does not answer: try again") from error


@get(
    "/v1/models",
    tags=["models"],
    responses=json_answers(Models, "By horizon, those with an alias first, then the newest."),
    summary="Champion, challenger and older versions of each horizon",
)
async def models(
    request: Request[Any, Any, Any], context: NamedDependency[ApiContext], horizon_s: Horizon = None
) -> Response[bytes]:
    """Read from the model registry; of versions without an alias the newest 20 of each horizon."""
    found = await ask_registry(lambda: registered(MlSettings(home=context.settings.home)))
    rows = model_rows(one for one in found if horizon_s in {None, one.horizon_s})
    return answer(request, {"models": rows}, sources(context, ()))


def model_rows(found: Iterable[Registered]) -> list[ModelRow]:
    """Give a row for each alias, and one for each of the newest versions without."""
    named: dict[int, list[ModelRow]] = {}
    others: dict[int, list[ModelRow]] = {}
    for one in found:
        others.setdefault(one.horizon_s, [])
        rows = named.setdefault(one.horizon_s, [])
        rows += [_row(one, alias) for alias in one.aliases]
        if not one.aliases:
            others[one.horizon_s].append(_row(one, None))
    order = ("champion", "challenger", "previous")
    return [
        row
        for horizon_s, rows in sorted(named.items())
        for row in (*sorted(rows, key=lambda row: order.index(row.alias or "")), *others[horizon_s][:OTHERS_MAX])
    ]


def _row(one: Registered, alias: str | None) -> ModelRow:
    return ModelRow(
        horizon_s=one.horizon_s,
        model=one.model,
        alias=alias,
        version=one.version,
        created_ms=one.created_ms,
        trained_from_ms=one.trained_from_ms,
        trained_to_ms=one.trained_to_ms,
        feature_set=one.feature_set,
        verdict=one.verdict,
        report=f"/v1/models/{one.horizon_s}/report?alias={alias}" if alias and one.has_report else None,
    )
