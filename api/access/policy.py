"""Headers that tell browsers what a page of ours may do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from api.access.headers import Headers

__all__ = ["security_headers"]

DATA: Final = b"default-src 'none'; frame-ancestors 'none'"
PAGE: Final = (
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The live page: scripts are files of ours; plotly writes styles."""
LIST: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""/schema: plain HTML without a script."""
EXPLORER: Final = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' https://cdn.jsdelivr.net; "
    b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: https:; "
    b"font-src 'self' data: https://cdn.jsdelivr.net https://fonts.scalar.com; "
    b"connect-src 'self' https://cdn.jsdelivr.net; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    b"frame-ancestors 'none'"
)
"""Scalar and Swagger: scripts of a CDN, written into the page."""
_ALL: Final[Headers] = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def _made(policy: bytes) -> Headers:
    return [*_ALL, (b"content-security-policy", policy)]


_DATA, _PAGE, _LIST, _EXPLORER = _made(DATA), _made(PAGE), _made(LIST), _made(EXPLORER)


def security_headers(path: str, content_type: bytes) -> Headers:
    """Give the headers of an answer; those that it has of its own win."""
    if not content_type.startswith(b"text/html"):
        return _DATA
    if not path.startswith("/schema"):
        return _PAGE
    return _LIST if path.rstrip("/") == "/schema" else _EXPLORER
