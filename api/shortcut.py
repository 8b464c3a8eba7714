"""The newest forecasts past the framework: the answer that most programs ask for, in half of its time.

The same bytes as the route in api/routes/forecasts.py gives, which documents it and takes everything that is not plain:
unknown pairs, wrong parameters, a feed that is not ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from api.routes.parameters import PAIR_MAX
from api.tokens import HORIZON_MAX_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.context import ApiContext

    App = Callable[[Any, Any, Any], Awaitable[None]]

__all__ = ["Shortcut"]

PATH: Final = "/v1/forecasts/latest"
KEPT_MAX: Final = 1_000
"""Questions that are remembered (count)."""
_Asked = tuple[str | None, int | None]


class Shortcut:
    """ASGI: answers plain requests for the newest forecasts, and hands all others on."""

    def __init__(self, app: App, context: ApiContext) -> None:
        self._app = app
        self._context = context
        self._asked: dict[bytes, _Asked | None] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET" or not self._context.feed.ready:
            await self._app(scope, receive, send)
            return
        asked = self._question(scope["query_string"])
        latest = None if asked is None else self._context.latest.of(*asked, stale=self._context.feed.stale)
        if latest is None or not latest.rows:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        status, fields, body = latest.sent(headers.get(b"accept-encoding"), headers.get(b"if-none-match"))
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        await send({"type": "http.response.body", "body": body})

    def _question(self, query: bytes) -> _Asked | None:
        """Read the parameters; None where the route has to look at them."""
        try:
            return self._asked[query]
        except KeyError:
            asked = _parsed(query)
            if len(self._asked) >= KEPT_MAX:
                self._asked.clear()
            self._asked[query] = asked
            return asked


def _parsed(query: bytes) -> _Asked | None:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), max_num_fields=2)
    except ValueError:
        return None
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() <= {"pair", "horizon_s"}:
        return None
    pair, horizon_s = found.get("pair"), found.get("horizon_s")
    if pair is not None and not 1 <= len(pair) <= PAIR_MAX:
        return None
    if horizon_s is None:
        return pair, None
    if not (horizon_s.isascii() and horizon_s.isdigit() and 1 <= int(horizon_s[:10]) <= HORIZON_MAX_S):
        return None
    return pair, int(horizon_s)
