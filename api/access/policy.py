"""Headers that tell browsers what a page of ours may do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from api.access.headers import Headers

__all__ = ["security_headers"]

DATA: Final = b"default-src 'none'; frame-ancestors 'none'"
<<<<<<< HEAD
PLAIN: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""HTML without a script: pages that have one bring a policy of their own along."""
=======
PAGE: Final = (
    b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The live page: scripts are files of ours; plotly writes styles."""
SCHEMA: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Documentation: scripts are files of ours; its renderers write styles."""
>>>>>>> h6-access
_ALL: Final[Headers] = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def _made(policy: bytes) -> Headers:
    return [*_ALL, (b"content-security-policy", policy)]


<<<<<<< HEAD
_DATA, _PLAIN = _made(DATA), _made(PLAIN)
=======
_DATA, _PAGE, _SCHEMA = _made(DATA), _made(PAGE), _made(SCHEMA)
>>>>>>> h6-access


def security_headers(content_type: bytes) -> Headers:
    """Give the headers of an answer; those that it has of its own win."""
<<<<<<< HEAD
    return _PLAIN if content_type.startswith(b"text/html") else _DATA
=======
    if not content_type.startswith(b"text/html"):
        return _DATA
    return _SCHEMA if path.startswith("/schema") else _PAGE
>>>>>>> h6-access
