"""Opaque url-safe texts that the API gives out and reads back: cursors of pages and ids of forecasts. Pure."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec

from tables.records import Forecast, Scored

__all__ = [
    "HORIZON_MAX_S",
    "ID_MAX",
    "TOKEN_MAX",
    "BadTokenError",
    "ForecastId",
    "Int",
    "cursor",
    "forecast_id",
    "read_cursor",
    "read_id",
]

TOKEN_MAX: Final = 512
"""Longest cursor that is read (characters)."""
HORIZON_MAX_S: Final = 604_800
"""Longest horizon that is asked for: a week (s)."""
ID_MAX: Final = 512
"""Longest id that is read (characters)."""

Int = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Text = Annotated[str, msgspec.Meta(max_length=200)]
Key = TypeVar("Key")


class BadTokenError(ValueError):
    """A text that this API has not given out, or not for this question."""


class ForecastId(NamedTuple):
    """What names a forecast."""

    pair: _Text
    horizon_s: Annotated[int, msgspec.Meta(ge=1, le=HORIZON_MAX_S)]
    feature_open_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    model: _Text
    model_version: _Text


def cursor(question: Sequence[object], key: Sequence[int | str]) -> str:
    """Make the cursor that continues after `key`.

    Parameters
    ----------
    question
        What was asked: the cursor answers this question only.
    key
        Of the last row that was given: integers and texts.
    """
    return _token([_mark(question), *key])


def read_cursor(text: str, question: Sequence[object], key: type[Key]) -> Key:
    """Give the key back; BadTokenError where the text is no cursor, or one of another question."""
    mark, *parts = _parts(text)
    if mark != _mark(question):
        raise BadTokenError("belongs to another question: keep pair, timeframe, horizon and times as they were")
    try:
        return msgspec.convert(parts, key)
    except msgspec.ValidationError:
        raise BadTokenError("is not one that this API gave out") from None


def forecast_id(row: Forecast | Scored) -> str:
    """Name a forecast: the same whenever it is asked for."""
    return _token([row.pair, row.horizon_s, row.feature_open_ms, row.model, row.model_version])


def read_id(text: str) -> ForecastId:
    """Read what `forecast_id` made; BadTokenError for anything else."""
    try:
        return msgspec.convert(_parts(text), ForecastId)
    except msgspec.ValidationError:
        raise BadTokenError("is not an id that this API gave out") from None


def _mark(question: Sequence[object]) -> str:
    return blake2b(msgspec.json.encode(list(question)), digest_size=6).hexdigest()


def _token(parts: Sequence[int | str]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(list(parts))).rstrip(b"=").decode()


def _parts(text: str) -> list[Any]:
    try:
        parts = msgspec.json.decode(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        parts = None
    # Only the one text that is made of these parts: b64decode skips what it does not know.
    if not isinstance(parts, list) or not parts or _token(parts) != text:
        raise BadTokenError("is not one that this API gave out")
    return parts
