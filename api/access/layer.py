"""The ASGI layer around the app: refuse, or let through and put the headers on the answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from api.access.gate import Gate, Visit, is_preflight, too_large
from api.access.log import AccessLog
from api.access.policy import security_headers
from api.access.refusals import CONTENT_TYPE, Refusal, with_instance
from api.access.sockets import KeyEndedError, Sockets
from api.access.uses import note_uses
from api.caller import CALLER
from api.times import now_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.access.headers import Headers
    from api.access.settings import AccessSettings

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]
    App = Callable[[Any, Receive, Send], Awaitable[None]]

__all__ = ["Access"]

log = logging.getLogger("tickcast.api")

NOTE_S: Final = 30.0
"""How often the last uses of keys are written down, s."""
EXPOSED: Final = b"ETag, Link, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, X-Tickcast-Source"
SUBPROTOCOL: Final = "tickcast"
"""What a browser offers beside its key; a browser wants one of its offers chosen."""
_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, X-API-Key, X-Request-Id, If-None-Match"),
    (b"access-control-max-age", b"600"),
]


class _TooLargeError(Exception):
    """A body without a length went past the bound."""


class Access:
    """Stand before an ASGI app, HTTP and WebSocket alike."""

    def __init__(
        self,
        app: App,
        settings: AccessSettings,
        clock_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._app = app
        self._home = settings.home
        self._body_max = settings.api_body_max_bytes
        self._clock_s = clock_s
        self._gate = Gate(settings, clock_s, wall_ms)
        self._origins = self._gate.origins
        self._sockets = Sockets(self._gate.keyring)
        self._log = AccessLog(settings.api_access_log, wall_ms)
        self._noted_s = clock_s()
        self._noting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)
            if self._noting is not None:  # the lifespan has ended
                await asyncio.wait([self._noting], timeout=1)

    async def _http(self, scope: Any, receive: Receive, send: Send) -> None:
        started_s = self._clock_s()
        visit = self._gate.visit(scope)
        scope[CALLER] = visit.caller
        self._note()
        if not self._origins.empty:
            visit.headers += self._cors(visit)
        answer = _Answer(visit, send)
        try:
            if visit.refusal is not None:
                await _refuse(visit.refusal, visit, answer.send)
            elif is_preflight(scope, visit) and self._origins.listed(visit.origin or b""):
                await answer.send({"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT)})
                await answer.send({"type": "http.response.body", "body": b""})
            elif b"transfer-encoding" in visit.picked:
                await self._bounded(scope, receive, answer)
            else:
                await self._app(scope, receive, answer.send)
        finally:
            if self._log.on:
                self._log.write(scope, visit, answer.status, answer.sent_bytes, self._clock_s() - started_s)

    async def _bounded(self, scope: Any, receive: Receive, answer: _Answer) -> None:
        """Let a body without a length through as far as it keeps to the bound."""
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._body_max:
                raise _TooLargeError
            return message

        try:
            await self._app(scope, counted, answer.send)
        except _TooLargeError:
            if not answer.status:
                await _refuse(too_large(self._body_max), answer.visit, answer.send)

    async def _websocket(self, scope: Any, receive: Receive, send: Send) -> None:
        started_s = self._clock_s()
        visit = self._gate.visit(scope)
        scope[CALLER] = visit.caller
        self._note()
        status = 101
        try:
            if visit.refusal is not None:
                status = visit.refusal.status.value
                await _refuse_socket(visit, scope, send)
                return
            answer = _greeting(scope, visit, send)
            if visit.caller.key_id is None:
                await self._app(scope, receive, answer)
            else:
                with contextlib.suppress(KeyEndedError), self._sockets.held(visit.caller.key_id, answer) as watched:
                    await self._app(scope, receive, watched)
        finally:
            if self._log.on:
                self._log.write(scope, visit, status, 0, self._clock_s() - started_s)

    def _cors(self, visit: Visit) -> Headers:
        headers: Headers = [(b"vary", b"Origin")]
        if visit.origin is not None and self._origins.listed(visit.origin):
            headers += [(b"access-control-allow-origin", visit.origin), (b"access-control-expose-headers", EXPOSED)]
        return headers

    def _note(self) -> None:
        """Write down now and then which keys were used, in a thread."""
        used_ms = self._gate.keyring.used_ms
        now_s = self._clock_s()
        if used_ms and now_s - self._noted_s >= NOTE_S and (self._noting is None or self._noting.done()):
            self._noted_s = now_s
            self._gate.keyring.used_ms = {}
            self._noting = asyncio.create_task(self._write_uses(used_ms), name="key-uses")

    async def _write_uses(self, used_ms: dict[str, int]) -> None:
        with contextlib.suppress(OSError):  # a read-only folder: last uses are a convenience
            await asyncio.to_thread(note_uses, self._home, used_ms)


class _Answer:
    """What the app says to one request, with our headers on it."""

    __slots__ = ("_held", "_send", "sent_bytes", "status", "visit")

    def __init__(self, visit: Visit, send: Send) -> None:
        self.visit = visit
        self.status = 0
        self.sent_bytes = 0
        self._send = send
        self._held: Any = None

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            content_type = self._decorate(message)
            if self.status >= 400 and content_type.startswith(CONTENT_TYPE):  # noqa: PLR2004  # an error of HTTP
                self._held = message
                return
        elif kind == "http.response.body":
            if self._held is not None:
                message = await self._release(message)
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def _decorate(self, message: Any) -> bytes:
        """Add our headers but those that the app has set itself; gives the content type."""
        theirs = list(message.get("headers", ()))
        names = dict(theirs)
        content_type: bytes = names.get(b"content-type", b"")
        ours = (*self.visit.headers, *security_headers(content_type))
        theirs += [header for header in ours if header[0] not in names or header[0] == b"vary"]
        message["headers"] = theirs
        return content_type

    async def _release(self, message: Any) -> Any:
        """Name the request in a problem that comes whole."""
        start, self._held = self._held, None
        body = message.get("body", b"")
        if body and not message.get("more_body", False):
            body = with_instance(body, self.visit.request_id)
            length = (b"content-length", str(len(body)).encode())
            start["headers"] = [header for header in start["headers"] if header[0] != length[0]] + [length]
        await self._send(start)
        return {**message, "body": body}


async def _refuse(refusal: Refusal, visit: Visit, send: Send) -> None:
    body = refusal.body(visit.request_id)
    await send({"type": "http.response.start", "status": refusal.status.value, "headers": _head(refusal, body)})
    await send({"type": "http.response.body", "body": body})


async def _refuse_socket(visit: Visit, scope: Any, send: Send) -> None:
    """Answer the handshake with a response of HTTP: the upgrade never happens."""
    refusal = visit.refusal
    assert refusal is not None  # noqa: S101  # the caller has looked
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.kind})
        return
    body = refusal.body(visit.request_id)
    headers = _head(refusal, body) + visit.headers
    await send({"type": "websocket.http.response.start", "status": refusal.status.value, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _head(refusal: Refusal, body: bytes) -> Headers:
    length = str(len(body)).encode()
    return [
        (b"content-type", CONTENT_TYPE),
        (b"content-length", length),
        (b"cache-control", b"no-store"),
        *refusal.headers,
    ]


def _greeting(scope: Any, visit: Visit, send: Send) -> Send:
    """Put our headers on the acceptance of a connection."""

    async def accepted(message: Any) -> None:
        if message["type"] == "websocket.accept":
            message["headers"] = [*message.get("headers", ()), *visit.headers]
            if SUBPROTOCOL in scope.get("subprotocols", ()) and not message.get("subprotocol"):
                message["subprotocol"] = SUBPROTOCOL
        await send(message)

    return accepted
