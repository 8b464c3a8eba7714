"""Serve the live page: index.html at `/`, everything else below a folder that is named by its content."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter

from api.answers import UNCOMPRESSED
from api.page.assets import Asset, load

__all__ = ["PAGE"]

# No inline script or style, nothing from elsewhere; `connect-src 'self'` covers the feed's ws:// on the same host.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
YEAR: Final = "public, max-age=31536000, immutable"
ASSETS: Final = load()

OWN_GZIP: Final = {UNCOMPRESSED: True}
"""For a compression layer around the routes: these are packed already, once."""

Name = Annotated[str, PathParameter(name="name", max_length=60, description="Name of a file.")]
Version = Annotated[str, PathParameter(name="version", max_length=60, description="Hash of the page's files.")]
Asked = Request[Any, Any, Any]


@get("/", include_in_schema=False, opt=OWN_GZIP)
async def page(request: Asked) -> Response[bytes]:
    """Asked for anew each time (a 304 where nothing changed): it names the version of all other files."""
    return _send(request, ASSETS.index, "no-cache")


@get("/page/{version:str}/{name:str}", include_in_schema=False, opt=OWN_GZIP)
async def asset(request: Asked, version: Version, name: Name) -> Response[bytes]:
    """Kept by browsers for a year. 404 for another version: its page asks for the new index at the next load."""
    found = ASSETS.files.get(name)
    if found is None or version != ASSETS.version:
        raise NotFoundException(f"the page has no file {name!r} in version {version!r}: load / anew")
    return _send(request, found, YEAR)


def _send(request: Asked, found: Asset, cache: str) -> Response[bytes]:
    zipped = found.zipped if "gzip" in _accepted(request.headers.get("Accept-Encoding", "")) else None
    etag = found.etag if zipped is None else f'{found.etag[:-1]}-gzip"'
    headers = HEADERS | {"Cache-Control": cache, "ETag": etag}
    if etag in (part.strip().removeprefix("W/") for part in request.headers.get("If-None-Match", "").split(",")):
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=headers, media_type=found.content_type)
    if zipped is None:
        return Response(found.body, headers=headers, media_type=found.content_type)
    return Response(zipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.content_type)


def _accepted(header: str) -> set[str]:
    """Name the codings of `Accept-Encoding` that are not refused by `q=0`."""
    accepted = set()
    for part in header.split(","):
        coding, _, quality = part.partition(";")
        if quality.replace(" ", "").rstrip("0.") != "q=":
            accepted.add(coding.strip().lower())
    return accepted


PAGE: Final[list[Any]] = [page, asset]
