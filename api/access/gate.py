"""Decide about one request or connection from its ASGI scope: who asks, and may they."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from api.access.headers import COUNT_MAX, SIZE_MAX, Headers, key_token, pick, sane_id
from api.access.hosts import Hosts, Origins
from api.access.keyring import Keyring
from api.access.keys import SCOPES, ApiKey
from api.access.limits import Limits, bucket_of
from api.access.proxies import Proxies
from api.access.refusals import Refusal, refuse
from api.access.settings import FOREIGN_RATE
from api.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.access.settings import AccessSettings

__all__ = ["Gate", "Visit"]

HEALTH: Final = frozenset(("/health/live", "/health/ready", "/metrics"))
"""Asked by probes and monitors, by address and often: open, and not counted."""
OPEN: Final = frozenset(("/", "/favicon.ico", "/robots.txt"))
OPEN_BELOW: Final = ("/schema", "/assets/", "/static/", "/page/")
"""Pages, their files and the documentation hold no data. Everything else needs a scope."""
QUERY_MAX: Final = 8_192
NOBODY: Final = Caller("unknown")
_PROXIED: Final = frozenset((b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip"))
_KEY_IN_QUERY: Final = re.compile(rb"tk_[0-9a-f]{12}_|(?:^|&)(?:api[_-]?key|access_token)=", re.IGNORECASE)
_ALL_SCOPES: Final = frozenset(SCOPES)
_REALM: Final = b'Bearer realm="tickcast"'


class Visit:
    """One request or connection, as far as the access layer knows it."""

    __slots__ = ("caller", "headers", "origin", "picked", "refusal", "request_id")

    def __init__(self, picked: dict[bytes, bytes]) -> None:
        self.picked = picked
        self.request_id = sane_id(picked.get(b"x-request-id")) or secrets.token_hex(8)
        self.caller = NOBODY
        self.headers: Headers = [(b"x-request-id", self.request_id.encode())]
        """Go with every answer."""
        self.origin = picked.get(b"origin")
        self.refusal: Refusal | None = None


class Gate:
    """All rules together.

    Parameters
    ----------
    clock_s
        Monotonic, s.
    wall_ms
        Epoch ms.
    """

    def __init__(self, settings: AccessSettings, clock_s: Callable[[], float], wall_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._anonymous = settings.anonymous
        self._anonymous_rate = settings.anonymous_rate
        self._private = settings.private
        self._body_max = settings.api_body_max_bytes
        self.origins = Origins(settings.api_cors_origins)
        self.keyring = Keyring(settings.keys_file, clock_s, wall_ms)
        self._hosts = Hosts(settings.api_host, settings.api_allowed_hosts)
        self._proxies = Proxies(settings.trusted_networks, settings.api_proxy_header)
        self._limits = Limits(clock_s, settings.api_rate_burst_s, settings.api_rate_buckets_max)

    def visit(self, scope: Any) -> Visit:
        """Look at a request; `refusal` tells why it goes no further."""
        picked = pick(scope["headers"])
        visit = Visit(picked or {})
        if picked is None:
            text = f"at most {COUNT_MAX} headers of {SIZE_MAX:,} bytes together"
            visit.refusal = refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", text)
            return visit
        client = scope.get("client")
        address = self._proxies.client(str(client[0]) if client else "unknown", picked.get(self._proxies.header))
        visit.caller = Caller(address)
        visit.refusal = self._bad_form(scope, visit)
        if visit.refusal is None and (scope["path"] not in HEALTH or scope["type"] != "http"):
            visit.refusal = self._bad_place(scope, visit) or self._bad_caller(scope, visit)
        return visit

    def _bad_form(self, scope: Any, visit: Visit) -> Refusal | None:
        query = scope["query_string"]
        if len(query) + len(scope["path"]) > QUERY_MAX:
            return refuse(
                HTTPStatus.REQUEST_URI_TOO_LONG, "uri-too-long", f"path and query: at most {QUERY_MAX:,} bytes"
            )
        if query and _KEY_IN_QUERY.search(query):
            text = "a key in the address ends up in logs: send `Authorization: Bearer tk_...`, and revoke this one"
            return refuse(HTTPStatus.BAD_REQUEST, "key-in-query", text)
        length = visit.picked.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 12 or int(length) > self._body_max:  # noqa: PLR2004  # terabytes
            return too_large(self._body_max)
        return None

    def _bad_place(self, scope: Any, visit: Visit) -> Refusal | None:
        host = visit.picked.get(b"host", b"")
        if not self._hosts.allows(host):
            text = (
                f"{host.decode('latin-1')[:100]!r} is no name of this API: "
                "ask by its address, or list the name in TICKCAST_API_ALLOWED_HOSTS"
            )
            return refuse(HTTPStatus.MISDIRECTED_REQUEST, "host-not-allowed", text)
        if scope["type"] == "websocket" and not self.origins.may_connect(visit.origin, host):
            text = "a page of another origin may connect only if TICKCAST_API_CORS_ORIGINS lists it"
            return refuse(HTTPStatus.FORBIDDEN, "origin-not-allowed", text)
        return None

    def _bad_caller(self, scope: Any, visit: Visit) -> Refusal | None:
        socket = scope["type"] == "websocket"
        token = key_token(visit.picked, socket=socket)
        key = None if token is None else self.keyring.check(token)
        if isinstance(key, ApiKey):
            visit.caller = Caller(visit.caller.address, key.id, frozenset(key.scopes))
            rate = self._settings.api_rate_key if key.rate_per_s is None else key.rate_per_s
            return self._too_many(visit, visit.caller.name, rate, "key") or _no_scope(scope, visit.caller)
        proxied = self._private and not _PROXIED.isdisjoint(visit.picked)
        rate = FOREIGN_RATE if proxied and self._settings.api_rate_anonymous is None else self._anonymous_rate
        if (refusal := self._too_many(visit, bucket_of(visit.caller.address), rate, "anonymous")) is not None:
            return refusal
        if key is not None:
            return self._bad_key(key)
        if self._anonymous and not (proxied and self._settings.api_anonymous == "auto"):
            visit.caller = Caller(visit.caller.address, None, _ALL_SCOPES)
            return None
        if _is_open(scope) or is_preflight(scope, visit):
            return None
        return _no_key(proxied=proxied)

    def _too_many(self, visit: Visit, name: str, rate: float, policy: str) -> Refusal | None:
        share = self._limits.take(name, rate, policy)
        visit.headers += share.headers
        if not share.wait_s:
            return None
        text = f"more than {rate:g} requests a second: try again in {share.wait_s} s"
        retry = (b"retry-after", str(share.wait_s).encode())
        return refuse(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", text, retry)

    def _bad_key(self, fault: str) -> Refusal:
        if self.keyring.trouble:
            text = "the API cannot read its keys now; its log tells why"
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "keys-unavailable", text, (b"retry-after", b"5"))
        text = f"the key is {fault}: `tickcast keys list` shows those that are good"
        challenge = (b"www-authenticate", _REALM + b', error="invalid_token"')
        return refuse(HTTPStatus.UNAUTHORIZED, "bad-key", text, challenge)


def is_preflight(scope: Any, visit: Visit) -> bool:
    """Tell whether a browser asks on behalf of a page whether it may ask."""
    asked = b"access-control-request-method" in visit.picked
    return bool(scope["type"] == "http" and scope["method"] == "OPTIONS" and asked and visit.origin is not None)


def too_large(body_max: int) -> Refusal:
    """Refuse a body."""
    return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", f"a body has at most {body_max:,} bytes")


def _is_open(scope: Any) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path in OPEN or path.startswith(OPEN_BELOW))


def _no_scope(scope: Any, caller: Caller) -> Refusal | None:
    needed = "feed" if scope["type"] == "websocket" else "read"
    if needed in caller.scopes or _is_open(scope):
        return None
    challenge = (b"www-authenticate", _REALM + b', error="insufficient_scope", scope="%b"' % needed.encode())
    text = f"the key lacks the scope `{needed}`: `tickcast keys create --scope {needed}` makes one that has it"
    return refuse(HTTPStatus.FORBIDDEN, "missing-scope", text, challenge)


def _no_key(*, proxied: bool) -> Refusal:
    text = "send a key: `Authorization: Bearer tk_...` (`tickcast keys create` makes one)"
    if proxied:
        text += "; a proxy sent this on: TICKCAST_API_ANONYMOUS=always lets its clients in without one"
    return refuse(HTTPStatus.UNAUTHORIZED, "no-key", text, (b"www-authenticate", _REALM))
