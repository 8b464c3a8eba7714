"""What a refused request is told: Problem Details (RFC 9457), the same over HTTP and before a WebSocket. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from api.problems import TYPE

__all__ = ["Refusal", "instance_of", "refuse", "with_instance"]

CONTENT_TYPE: Final = b"application/problem+json"


class Refusal(msgspec.Struct, frozen=True):
    """One refusal."""

    status: HTTPStatus
    kind: str
    """Last part of the problem's `type`."""
    detail: str
    headers: list[tuple[bytes, bytes]] = []

    def body(self, request_id: str) -> bytes:
        """Write the problem."""
        return msgspec.json.encode(
            {
                "type": f"{TYPE}{self.kind}",
                "title": self.status.phrase,
                "status": self.status.value,
                "detail": self.detail,
                "instance": instance_of(request_id),
            }
        )


def refuse(status: HTTPStatus, kind: str, detail: str, *headers: tuple[bytes, bytes]) -> Refusal:
    """Make a refusal; `headers` go with it."""
    return Refusal(status, kind, detail, [*headers])


def instance_of(request_id: str) -> str:
    """Name one request, as logs and the answer's X-Request-Id do."""
    return f"urn:tickcast:request:{request_id}"


def with_instance(body: bytes, request_id: str) -> bytes:
    """Put the request into a problem that a handler made."""
    try:
        problem = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
    if not isinstance(problem, dict) or "instance" in problem:
        return body
    return msgspec.json.encode(problem | {"instance": instance_of(request_id)})
