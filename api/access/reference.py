"""What the access layer adds to every operation of the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from litestar.openapi.spec import (
    Components,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Reference,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIType

from api.access.refusals import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar
    from litestar.openapi.spec import Operation

__all__ = ["document_access"]

GUARDED: Final = "/v1"
ANYWHERE: Final = {
    "413": "The body is too large.",
    "414": "The address is too long.",
    "421": "The Host header is no name of this API.",
    "429": "Too many requests: see `Retry-After`, `RateLimit` and `RateLimit-Policy`.",
    "431": "There are too many headers, or they are too long.",
}
WITH_KEY: Final = {"401": "A key is needed, or the one sent is no good.", "403": "The key lacks the scope `read`."}


def document_access(app: Litestar) -> Litestar:
    """Add keys, their schemes and the refusals to the document of an app."""
    document = app.openapi_schema
    document.components = document.components or Components()
    document.components.security_schemes = {
        "bearer": SecurityScheme(type="http", scheme="bearer", description="`tk_<key id>_<secret>`"),
        "header": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header", description="The same."),
    }
    for path, item in (document.paths or {}).items():
        for operation in (item.get, item.head, item.post, item.put, item.patch, item.delete):
            if operation is not None and not path.startswith("/health"):
                _add(operation, dict(_refusals(guarded=path.startswith(GUARDED))))
                if path.startswith(GUARDED):
                    operation.security = [{"bearer": []}, {"header": []}, {}]
    return app


def _add(operation: Operation, refusals: dict[str, OpenAPIResponse]) -> None:
    operation.responses = {**refusals, **(operation.responses or {})}


def _refusals(*, guarded: bool) -> Iterator[tuple[str, OpenAPIResponse]]:
    problem = OpenAPIMediaType(schema=Reference("#/components/schemas/Problem"))
    wait = OpenAPIHeader(schema=Schema(type=OpenAPIType.INTEGER), description="Whole seconds.")
    for status, text in (ANYWHERE | WITH_KEY if guarded else ANYWHERE).items():
        headers: dict[str, OpenAPIHeader | Reference] | None = {"Retry-After": wait} if status == "429" else None
        yield status, OpenAPIResponse(text, headers=headers, content={CONTENT_TYPE.decode(): problem})
