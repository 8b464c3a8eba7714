"""REST `/v1`: one file for each subject. Latest values come from memory, history from ClickHouse."""

from typing import Any, Final

from litestar import Router

from api.answers import SOURCE_HEADER, UNCOMPRESSED
from api.routes.accuracy import accuracy
from api.routes.candles import candles
from api.routes.errors import errors
from api.routes.features import features
from api.routes.forecasts import forecasts, latest_forecasts, one_forecast
from api.routes.models import models
from api.routes.pairs import pairs
from api.routes.quality import quality
from api.routes.reports import model_report

__all__ = ["ROUTES", "SOURCE_HEADER"]

_DATA: Final[list[Any]] = [
    pairs,
    candles,
    features,
    latest_forecasts,
    forecasts,
    one_forecast,
    errors,
    accuracy,
    models,
    quality,
]
ROUTES: Final[list[Any]] = [Router("/", route_handlers=_DATA, opt={UNCOMPRESSED: True}), model_report]
