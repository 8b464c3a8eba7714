"""The HTML report of a training, out of the model registry."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final, Literal

from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter

from api.context import ApiContext
from api.problems import BAD_REQUEST, EVERYWHERE, NO_REPORT, UNAVAILABLE, no_report
from api.routes.models import ask_registry
from api.tokens import HORIZON_MAX_S
from ml.registry import REPORT, Registry
from ml.settings import MlSettings

__all__ = ["model_report"]

Alias = Annotated[
    Literal["challenger", "champion", "previous"],
    QueryParameter(name="alias", description="`challenger` is the newest trained, promoted or not."),
]
Horizon = Annotated[
    int, PathParameter(name="horizon_s", ge=60, le=HORIZON_MAX_S, description="Horizon of the forecast, s.")
]
# The page holds its own style and script, and whatever it shows it brings along: nothing else may be loaded.
POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@get(
    "/v1/models/{horizon_s:int}/report",
    tags=["models"],
    media_type=MediaType.HTML,
    responses={
        200: ResponseSpec(str, generate_examples=False, description="The page.", media_type=MediaType.HTML),
        400: BAD_REQUEST,
        404: NO_REPORT,
        **EVERYWHERE,
        503: UNAVAILABLE,
    },
    summary="Report of a training as one self-contained HTML page",
)
async def model_report(
    context: NamedDependency[ApiContext], horizon_s: Horizon, alias: Alias = "challenger"
) -> Response[bytes]:
    """Read beside the model. 404 where there is none: the first champion, the volatility baseline, has no report."""
    page = await ask_registry(lambda: _read(context.settings.home, horizon_s, alias))
    if page is None:
        raise no_report(horizon_s, alias)
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(page, status_code=HTTPStatus.OK, media_type=MediaType.HTML, headers=headers)


def _read(home: Path, horizon_s: int, alias: str) -> bytes | None:
    """Ask sqlite and read a file; MLflow is imported only where the registry is a server. Blocking."""
    return Registry(MlSettings(home=home)).attached(horizon_s, alias, REPORT)
