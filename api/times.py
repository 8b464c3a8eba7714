"""Times at the edge: epoch milliseconds or RFC 3339 in, both out."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["MAX_MS", "now_ms", "parse_ms", "rfc3339"]

MAX_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""
_DIGITS_MAX: Final = 15


def now_ms() -> int:
    """Wall clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


def rfc3339(at_ms: int) -> str:
    """`2018-05-13T00:00:00.000Z`."""
    moment = datetime.fromtimestamp(at_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


def parse_ms(text: str) -> int:
    """Read epoch milliseconds or an RFC 3339 time with its offset; ValueError says what is wrong."""
    if text.isascii() and text.isdigit():
        value = int(text) if len(text) <= _DIGITS_MAX else MAX_MS + 1
    else:
        # A `+` that a client did not percent-encode arrives as a space.
        try:
            moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is neither epoch milliseconds nor an RFC 3339 time") from None
        if moment.tzinfo is None:
            raise ValueError(f"{text[:40]!r} lacks its offset: add Z or +00:00")
        value = round(moment.timestamp() * 1_000)
    if not 0 <= value <= MAX_MS:
        raise ValueError(f"{text[:40]!r} lies outside of 1970 to 9999")
    return value
