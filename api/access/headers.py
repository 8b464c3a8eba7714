"""The few headers of a request that decide about it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COUNT_MAX", "SIZE_MAX", "Headers", "key_token", "pick", "sane_id"]

Headers = list[tuple[bytes, bytes]]
COUNT_MAX: Final = 64
SIZE_MAX: Final = 16_384
"""Names and values of all headers of a request, bytes."""
_PICKED: Final = frozenset(
    (
        b"access-control-request-method",
        b"authorization",
        b"content-length",
        b"forwarded",
        b"host",
        b"origin",
        b"sec-websocket-protocol",
        b"transfer-encoding",
        b"via",
        b"x-api-key",
        b"x-forwarded-for",
        b"x-real-ip",
        b"x-request-id",
    )
)
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)\Z")


def pick(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    """Give the headers that matter here, None where there are too many.

    One that comes twice is joined by a comma (RFC 9110, 5.3): two of Host, Origin or a key are then no good one.
    """
    found: dict[bytes, bytes] = {}
    count = size = 0
    for name, value in headers:
        count += 1
        size += len(name) + len(value)
        if name in _PICKED:
            found[name] = b"%b, %b" % (found[name], value) if name in found else value
    return None if count > COUNT_MAX or size > SIZE_MAX else found


def key_token(picked: dict[bytes, bytes], *, socket: bool = False) -> str | None:
    """Give the key of a request, None where it presents none, empty where it is no bearer token or two differ.

    Browsers cannot set headers of a WebSocket: there it may also be one of the subprotocols.
    """
    tokens: set[str] = set()
    authorization = picked.get(b"authorization")
    if authorization is not None:
        bearer = _BEARER.match(authorization.decode("latin-1").strip())
        tokens.add(bearer[1] if bearer else "")
    if b"x-api-key" in picked:
        tokens.add(picked[b"x-api-key"].decode("latin-1").strip())
    if socket:
        offered = picked.get(b"sec-websocket-protocol", b"").decode("latin-1").split(",")
        tokens.update(one.strip() for one in offered if one.strip().startswith("tk_"))
    if not tokens:
        return None
    return tokens.pop() if len(tokens) == 1 else ""


def sane_id(value: bytes | None) -> str | None:
    """Give a request id that may be written into logs as it is, None for any other."""
    return value.decode() if value is not None and _ID.match(value) else None
