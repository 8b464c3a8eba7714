"""One line for each request, for people or programs. Keys are never in it."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.access.gate import Visit

__all__ = ["AccessLog"]

log = logging.getLogger("tickcast.access")


class Line(msgspec.Struct, frozen=True):
    """What is told of a request or connection."""

    at: str
    """RFC 3339, when it came."""
    request_id: str
    address: str
    key_id: str | None
    method: str
    """`WS` for a connection."""
    path: str
    query: str
    """Left out where the request was refused for its form: it may hold a key."""
    status: int
    """Of a connection 101, or that of its refusal. 0: there was no answer."""
    sent_bytes: int
    """Of the body; of a connection 0."""
    took_ms: float
    """To the last byte; of a connection to its end."""


class AccessLog:
    """Write lines to stdout, through a logger of its own: `tickcast.access`."""

    def __init__(self, form: str, wall_ms: Callable[[], int]) -> None:
        self._json = form == "json"
        self._wall_ms = wall_ms
        self.on = form != "off"
        if self.on and not log.handlers:
            handler = logging.StreamHandler(sys.stdout)
            handler.setFormatter(logging.Formatter("%(message)s"))
            log.addHandler(handler)
            log.propagate = False
            log.setLevel(logging.INFO)

    def write(self, scope: Any, visit: Visit, status: int, sent_bytes: int, took_s: float) -> None:
        """Tell of one that has ended."""
        took_ms = round(took_s * 1e3, 3)
        unsafe = visit.refusal is not None and visit.refusal.kind in ("key-in-query", "uri-too-long")
        line = Line(
            rfc3339(self._wall_ms() - round(took_ms)),
            visit.request_id,
            visit.caller.address,
            visit.caller.key_id,
            "WS" if scope["type"] == "websocket" else scope["method"],
            scope["path"][:MAX],
            "" if unsafe else scope["query_string"].decode("latin-1")[:MAX],
            status,
            sent_bytes,
            took_ms,
        )
        log.info("%s", msgspec.json.encode(line).decode() if self._json else _text(line))


MAX: Final = 1_024


def _text(line: Line) -> str:
    """Write a line for people; what the client chose is ASCII JSON: no line breaks, no escapes of a terminal."""
    target = json.dumps(f"{line.path}?{line.query}" if line.query else line.path).replace("\x7f", "\\u007f")
    return (
        f"{line.at} {line.address} {line.key_id or '-'} {line.method} {target} {line.status} {line.sent_bytes} B "
        f"{line.took_ms:g} ms {line.request_id}"
    )
