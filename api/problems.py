"""Errors as Problem Details (RFC 9457)."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins.problem_details import (
    ProblemDetailsConfig,
    ProblemDetailsException,
    ProblemDetailsPlugin,
)

from api.formats import FORMATS
from api.schemas import Problem
from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from litestar import Request, Response

__all__ = [
    "BAD_REQUEST",
    "EVERYWHERE",
    "NOT_ACCEPTABLE",
    "NOT_FOUND",
    "NO_FORECAST",
    "NO_REPORT",
    "UNAVAILABLE",
    "bad_parameter",
    "no_forecast",
    "no_report",
    "not_acceptable",
    "problem_plugin",
    "unexpected",
    "unknown_pair",
]

log = logging.getLogger("tickcast.api")


def _spec(description: str) -> ResponseSpec:
    return ResponseSpec(
        Problem, generate_examples=False, description=description, media_type="application/problem+json"
    )


BAD_REQUEST: Final = _spec("A parameter is wrong or missing.")
NOT_FOUND: Final = _spec("There is no such pair.")
NO_REPORT: Final = _spec("There is no such model, or nothing was trained for it.")
NO_FORECAST: Final = _spec("There is no forecast of that id.")
NOT_ACCEPTABLE: Final = _spec("`Accept` allows none of JSON, CSV and Arrow.")
UNAVAILABLE: Final = _spec("Not available now: see `Retry-After`.")
EVERYWHERE: Final = {500: _spec("A fault of the API: its log tells which.")}
"""What any operation may answer."""
RETRY_AFTER_S: Final = 2
MISSING: Final = re.compile(r"Missing required \w+ parameter '(\w+)'")
"""Litestar names a missing parameter in its text only."""
TYPE: Final = "urn:tickcast:problem:"


def bad_parameter(field: str, message: str) -> ProblemDetailsException:
    """Refuse a query parameter that is not what it must be."""
    return ProblemDetailsException(
        status_code=HTTPStatus.BAD_REQUEST,
        type_=f"{TYPE}bad-parameter",
        title="Bad parameter",
        detail=f"{field}: {message}",
        extra={"errors": [{"field": field, "message": message}]},
    )


def unknown_pair(pair: str) -> ProblemDetailsException:
    """Refuse a pair of which nothing is known."""
    return ProblemDetailsException(
        status_code=HTTPStatus.NOT_FOUND,
        type_=f"{TYPE}unknown-pair",
        title="Unknown pair",
        detail=f"no such pair: {pair[:40]!r}; /v1/pairs lists them, for example pair=BTC/USD",
        extra={"errors": [{"field": "pair", "message": "unknown"}]},
    )


def no_forecast(text: str) -> ProblemDetailsException:
    """Refuse an id that names no forecast."""
    return ProblemDetailsException(
        status_code=HTTPStatus.NOT_FOUND,
        type_=f"{TYPE}no-forecast",
        title="No forecast",
        detail=f"no forecast has the id {text[:80]!r}: /v1/forecasts gives each row's id",
    )


def not_acceptable() -> ProblemDetailsException:
    """Refuse to answer in a format that the API does not have."""
    return ProblemDetailsException(
        status_code=HTTPStatus.NOT_ACCEPTABLE,
        type_=f"{TYPE}not-acceptable",
        title="Not acceptable",
        detail=f"`Accept` must allow one of {', '.join(FORMATS)}",
    )


def no_report(horizon_s: int, alias: str) -> ProblemDetailsException:
    """Say that there is no report yet."""
    return ProblemDetailsException(
        status_code=HTTPStatus.NOT_FOUND,
        type_=f"{TYPE}no-report",
        title="No report",
        detail=f"no report of the {alias} for {horizon_s} s: the volatility baseline has none, and `tickcast train` "
        "writes one for every training; see `tickcast models list`",
    )


def problem_plugin() -> ProblemDetailsPlugin:
    """Litestar's own errors and ours in one form."""
    return ProblemDetailsPlugin(
        ProblemDetailsConfig(
            exception_to_problem_detail_map={HTTPException: _from_http, UnreachableError: _from_unreachable}
        )
    )


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Log a fault of ours in full, tell it without its insides."""
    log.error("a request failed", exc_info=error)
    problem = ProblemDetailsException(
        status_code=HTTPStatus.INTERNAL_SERVER_ERROR,
        type_=f"{TYPE}internal",
        title="Internal error",
        detail="the request failed; the log of the API tells why",
    )
    return problem.to_response(request)


def _from_http(error: HTTPException) -> ProblemDetailsException:
    status = HTTPStatus(error.status_code)
    errors = _field_errors(error)
    kind = "bad-parameter" if errors else status.phrase.lower().replace(" ", "-")
    return ProblemDetailsException(
        status_code=error.status_code,
        type_=f"{TYPE}{kind}",
        title="Bad parameter" if errors else status.phrase,
        detail="; ".join(f"{row['field']}: {row['message']}" for row in errors) or error.detail,
        headers=error.headers,
        extra={"errors": errors} if errors else None,
    )


def _field_errors(error: HTTPException) -> list[dict[str, str]]:
    rows = error.extra if isinstance(error.extra, list) else []
    if not rows and (missing := MISSING.match(error.detail)):
        return [{"field": missing[1], "message": "required"}]
    return [{"field": row.get("key", ""), "message": row.get("message", "")} for row in rows if isinstance(row, dict)]


def _from_unreachable(error: UnreachableError) -> ProblemDetailsException:
    return ProblemDetailsException(
        status_code=HTTPStatus.SERVICE_UNAVAILABLE,
        type_=f"{TYPE}unavailable",
        title="Not available now",
        detail=str(error),
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
