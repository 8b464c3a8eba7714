"""Scripts and styles of the documentation pages, out of the packages that ship them: no CDN."""

from __future__ import annotations

import gzip
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from litestar import Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter

from api.answers import UNCOMPRESSED, matches, weak_tag
from api.formats import takes_gzip

__all__ = ["POLICY", "AssetName", "asset_url", "documentation_router"]

# name: package, file in it, media type
_ASSETS: Final = {
    "scalar.js": ("flask_openapi_scalar", "templates/scalar/js/scalar.standalone.js", "text/javascript"),
    "swagger.js": ("flask_openapi_swagger", "templates/swagger/js/swagger-ui-bundle.js", "text/javascript"),
    "swagger.css": ("flask_openapi_swagger", "templates/swagger/css/swagger-ui.css", "text/css"),
}
AssetName = Literal["scalar.js", "swagger.js", "swagger.css"]
# Both renderers write styles into the page as they run; neither loads anything from elsewhere.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_YEAR: Final = "public, max-age=31536000, immutable"


def asset_url(name: AssetName) -> str:
    """Give the address of a file; it changes with the package's version."""
    return f"/schema/assets/{name}?v={version(_ASSETS[name][0])}"


@lru_cache
def _compressed(name: str) -> bytes:
    """Read a file without importing its package, which would want Flask. Blocking; 0.2 s for the largest."""
    package, path, _ = _ASSETS[name]
    found = find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise FileNotFoundError(f"{package} is not installed: install tickcast with its dependencies")
    return gzip.compress((Path(folders[0]) / path).read_bytes(), 6)


@get("/assets/{name:str}", include_in_schema=False, sync_to_thread=True, opt={UNCOMPRESSED: True})
def asset(request: Request[Any, Any, Any], name: Annotated[str, PathParameter()]) -> Response[bytes]:
    """Give one file, compressed once for all."""
    if name not in _ASSETS:
        raise NotFoundException
    package, _, media_type = _ASSETS[name]
    headers = {"ETag": weak_tag(name, version(package)), "Cache-Control": _YEAR, "Vary": "Accept-Encoding"}
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers, media_type=media_type)
    body = _compressed(name)
    if takes_gzip(request.headers.get("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, headers=headers, media_type=media_type)


@get("/assets/start.js", include_in_schema=False, sync_to_thread=False)
def start() -> Response[bytes]:
    """Start whichever renderer the page has loaded: a script of the page's own would need a looser policy."""
    return Response(_START, headers={"Cache-Control": "no-cache"}, media_type="text/javascript")


_START: Final = b"""
const url = document.body.dataset.document;
if (window.SwaggerUIBundle) {
  SwaggerUIBundle({ url, dom_id: "#page", deepLinking: true, validatorUrl: null });
} else if (window.Scalar) {
  Scalar.createApiReference("#page", {
    url, withDefaultFonts: false, telemetry: false, agent: { disabled: true }, hideClientButton: true,
    showDeveloperTools: "never", mcp: { disabled: true },
  });
}
"""


def documentation_router() -> Router:
    """Serve everything below /schema under one policy."""
    return Router(
        "/schema",
        route_handlers=[asset, start],
        response_headers={"Content-Security-Policy": POLICY},
        include_in_schema=False,
        after_request=_no_page,
    )


def _no_page(response: Response[Any]) -> Response[Any]:
    """Litestar answers an unknown page of its documentation in HTML: here every error is a Problem."""
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NotFoundException
    return response
