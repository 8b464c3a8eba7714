"""Who is asking: filled by the access layer, read by limits, logs and the feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["CALLER", "Caller", "caller_of"]

CALLER: Final = "tickcast.caller"
"""Key of the ASGI scope under which the access layer leaves the caller."""


class Caller(msgspec.Struct, frozen=True):
    """One client of one request or connection."""

    address: str
    """IP address: the peer's, or what a trusted proxy says of it."""
    key_id: str | None = None
    """Public part of its API key; None: anonymous."""
    scopes: frozenset[str] = frozenset()
    """What the key allows."""

    @property
    def name(self) -> str:
        """What limits count by: the key where there is one, else the address."""
        return self.address if self.key_id is None else f"key:{self.key_id}"


def caller_of(scope: MutableMapping[str, Any]) -> Caller:
    """Give the caller of an ASGI scope; where no access layer stands before it, the peer's address."""
    found = scope.get(CALLER)
    if isinstance(found, Caller):
        return found
    client = scope.get("client")
    return Caller(str(client[0]) if client else "unknown")
