"""API keys: what one is, how it is written, how it is checked. Pure but for the chance in `new_key`."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Annotated, Final

import msgspec

__all__ = ["SCOPES", "ApiKey", "digest_of", "matches", "new_key", "split_token"]

SCOPES: Final = ("read", "feed")
"""`read`: REST. `feed`: the WebSocket."""
SECRET_BYTES: Final = 24
_TOKEN: Final = re.compile(r"tk_([0-9a-f]{12})_([0-9a-f]{48})\Z")


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as the file keeps it; the secret is not in it."""

    id: str
    """Public: in logs, lists and limits."""
    digest: str
    """SHA-256 of the secret, hex."""
    scopes: tuple[str, ...]
    """Out of `SCOPES`."""
    created_ms: int
    label: str = ""
    expires_ms: int | None = None
    rate_per_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Requests a second; None: TICKCAST_API_RATE_KEY; 0: no limit."""
    revoked_ms: int | None = None

    def state(self, at_ms: int) -> str:
        """`active`, `expired` or `revoked` at that time."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and at_ms >= self.expires_ms else "active"


def new_key(
    at_ms: int,
    scopes: tuple[str, ...],
    *,
    label: str = "",
    expires_ms: int | None = None,
    rate_per_s: float | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and its token `tk_<key id>_<secret>`, which nobody can give again."""
    key_id, secret = secrets.token_hex(6), secrets.token_hex(SECRET_BYTES)
    key = ApiKey(key_id, digest_of(secret), scopes, at_ms, label, expires_ms, rate_per_s)
    return key, f"tk_{key_id}_{secret}"


def split_token(token: str) -> tuple[str, str] | None:
    """Give key id and secret of a token, None where it is none."""
    found = _TOKEN.match(token)
    return (found[1], found[2]) if found else None


def digest_of(secret: str) -> str:
    """SHA-256, hex. Nobody can guess 192 random bits from it: a slow hash would only make every request slow."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(key: ApiKey, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(key.digest, digest_of(secret))
