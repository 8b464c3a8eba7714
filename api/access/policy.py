"""Headers that tell browsers what a page of ours may do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from api.access.headers import Headers

__all__ = ["security_headers"]

DATA: Final = b"default-src 'none'; frame-ancestors 'none'"
PLAIN: Final = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""HTML without a script: pages that have one bring a policy of their own along."""
_ALL: Final[Headers] = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def _made(policy: bytes) -> Headers:
    return [*_ALL, (b"content-security-policy", policy)]


_DATA, _PLAIN = _made(DATA), _made(PLAIN)


def security_headers(content_type: bytes) -> Headers:
    """Give the headers of an answer; those that it has of its own win."""
    return _PLAIN if content_type.startswith(b"text/html") else _DATA
