"""The texts of the conversation, as the client sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

if TYPE_CHECKING:
    from websockets.exceptions import InvalidStatus

__all__ = ["Head", "decode_head", "feed_url", "refusal", "request"]


class Head(msgspec.Struct, frozen=True):
    """What tells the messages apart."""

    type: str = ""
    channel: str = ""
    session: str = ""
    stale: bool = False
    success: bool | None = None
    req_id: int | str | None = None
    result: dict[str, Any] = {}
    error: dict[str, str] = {}


decode_head: Final = msgspec.json.Decoder(Head).decode


def feed_url(url: str) -> str:
    """Give the address of the feed: `http` is `ws`, no path is `/v1/feed`."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme, path=parts.path.rstrip("/") or "/v1/feed"))


def request(method: str, params: dict[str, Any], req_id: int) -> str:
    """Make the text of one request."""
    return msgspec.json.encode({"method": method, "params": params, "req_id": req_id}).decode()


def refusal(error: InvalidStatus) -> str:
    """Say how the server refused the handshake."""
    body = (error.response.body or b"")[:300].decode(errors="replace")
    return f"the server answers {error.response.status_code}: {body}".rstrip(": ")
