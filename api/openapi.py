"""What Litestar cannot derive from the handlers: examples, validators, the formats and headers of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar.openapi.spec import (
    Example,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Schema,
)

from api.answers import NEXT_HEADER, SOURCE_HEADER
from api.examples import BODIES, CSV_BODIES, PROBLEM
from api.formats import ARROW, CSV, JSON, as_csv

if TYPE_CHECKING:
    from litestar.openapi.spec import OpenAPI

__all__ = ["complete"]

_TEXT: Final = Schema(type="string")  # type: ignore[arg-type]  # Litestar takes its enum or the text of it
PROBLEM_TYPE: Final = "application/problem+json"


def complete(document: OpenAPI, page_max: int) -> None:
    """Finish the document in place.

    Parameters
    ----------
    page_max
        Most rows of one page (TICKCAST_API_PAGE_MAX).
    """
    for path, item in (document.paths or {}).items():
        if item.get is not None:
            _complete_operation(path, item.get, page_max)


def _complete_operation(path: str, operation: Operation, page_max: int) -> None:
    responses = operation.responses or {}
    for status, response in responses.items():
        if isinstance(response, OpenAPIResponse) and status == "503" and path.startswith("/v1"):
            response.headers = {"Retry-After": _header("Seconds to wait.")}
    if path not in BODIES:
        return
    found = responses["200"]
    if not isinstance(found, OpenAPIResponse) or found.content is None:
        raise TypeError(f"{path} documents no body")
    found.content[JSON].examples = {"answer": Example(value=BODIES[path])}
    found.headers = {
        SOURCE_HEADER: _header("Where the data comes from: `kraken`, `sim` or `replay`."),
        "ETag": _header("Weak validator of everything but `as_of`: send it as `If-None-Match`."),
        "Cache-Control": _header("Longer for what is settled."),
    }
    responses["304"] = OpenAPIResponse(description="What `If-None-Match` names still holds.")
    problem = responses["400"]
    if isinstance(problem, OpenAPIResponse) and problem.content is not None:
        problem.content[PROBLEM_TYPE].examples = {"problem": Example(value=PROBLEM)}
    if path in CSV_BODIES:
        _complete_history(path, found, operation, page_max)


def _complete_history(path: str, found: OpenAPIResponse, operation: Operation, page_max: int) -> None:
    rows = CSV_BODIES[path]
    content, headers = found.content or {}, found.headers or {}
    content[CSV] = OpenAPIMediaType(
        schema=_TEXT, examples={"table": Example(value=as_csv(rows, type(rows[0])).decode())}
    )
    content[ARROW] = OpenAPIMediaType(schema=Schema(content_media_type=ARROW, description="Arrow IPC stream."))
    headers[NEXT_HEADER] = _header("Cursor of the next page, for CSV and Arrow; absent on the last one.")
    headers["Link"] = _header('The next page: `<...>; rel="next"` (RFC 8288).')
    for parameter in operation.parameters or []:
        if isinstance(parameter, Parameter) and parameter.name == "limit" and isinstance(parameter.schema, Schema):
            parameter.schema.maximum = page_max


def _header(description: str) -> OpenAPIHeader:
    return OpenAPIHeader(schema=_TEXT, description=description)
