"""What the edge refuses, and why: one refusal becomes one record on `dead-letters`."""

from __future__ import annotations

from typing import Final

import msgspec

from tables.records import DeadLetter

__all__ = ["REASONS", "FieldError", "Refusal", "dead_letter"]

DETAIL_CHARS: Final = 500
PAYLOAD_CHARS: Final = 2_000

REASONS: Final = frozenset(
    (
        "malformed-frame",
        "malformed-row",
        "too-large",
        "unknown-pair",
        "missing-field",
        "wrong-type",
        "price-not-finite",
        "price-not-positive",
        "qty-not-finite",
        "qty-not-positive",
        "side-unknown",
        "trade-id-invalid",
        "timestamp-invalid",
        "future-timestamp",
    )
)
"""Every reason the ingest gives. Counters and dashboards rely on the words."""


class FieldError(ValueError):
    """A field broke its contract; stays inside the decoders."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Refusal(msgspec.Struct, frozen=True):
    """One refused trade, row or frame."""

    reason: str
    detail: str
    payload: str = ""
    pair: str = ""


def clean(text: str, limit: int) -> str:
    """Cut `text` and make it encodable: JSON may carry lone surrogates, Kafka records may not."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8")


def dead_letter(refusal: Refusal, at_ms: int) -> DeadLetter:
    """Shape a refusal as the record of topic `dead-letters`."""
    return DeadLetter(
        stage="ingest",
        reason=refusal.reason,
        detail=clean(refusal.detail, DETAIL_CHARS),
        payload=clean(refusal.payload, PAYLOAD_CHARS),
        topic="",
        partition=-1,
        offset=-1,
        pair=clean(refusal.pair, 64),
        at_ms=at_ms,
    )
