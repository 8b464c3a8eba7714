"""What the careful decoders share: JSON with numbers as text, and fields that are checked one by one."""

from __future__ import annotations

import json
from typing import Any

from agents.trades.exchange import MAX_FRAME_BYTES, Decoded
from agents.trades.fields import ID_DIGITS, positive, trade_number
from agents.trades.refusals import FieldError, Refusal

__all__ = [
    "NumberText",
    "as_bytes",
    "id_field",
    "id_or_none",
    "loose_json",
    "loose_object",
    "malformed",
    "number_field",
    "refusal_of",
    "text_field",
]

PAYLOAD_CHARS = 2_000


class NumberText(str):
    """A bare JSON number (or NaN, Infinity) kept as its text."""

    __slots__ = ()


def loose_json(raw: bytes) -> Any:
    """Parse JSON and its NaN dialect with numbers as text.

    Raises
    ------
    ValueError
        It is not JSON, or nested beyond reason.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_float=NumberText, parse_int=NumberText, parse_constant=NumberText)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def as_bytes(raw: str | bytes) -> bytes:
    """Bytes of a frame, whether it came as text or not."""
    return raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw


def malformed(data: bytes, detail: str, reason: str = "malformed-frame") -> Decoded:
    """Refuse a frame as a whole."""
    payload = data[:PAYLOAD_CHARS].decode("utf-8", "replace")
    return Decoded("malformed", refusals=[Refusal(reason, detail, payload)])


def loose_object(data: bytes) -> dict[str, Any] | Decoded:
    """Read a frame as a JSON object, or refuse it."""
    if len(data) > MAX_FRAME_BYTES:
        return malformed(data, f"{len(data)} bytes, more than {MAX_FRAME_BYTES}", "too-large")
    try:
        frame = loose_json(data)
    except ValueError as error:
        return malformed(data, f"not JSON: {error}")
    return frame if isinstance(frame, dict) else malformed(data, f"a JSON {type(frame).__name__}, not an object")


def refusal_of(error: FieldError, row: object, pair: object) -> Refusal:
    """Shape what is wrong with one row."""
    return Refusal(error.reason, error.detail, json.dumps(row)[:PAYLOAD_CHARS], pair if isinstance(pair, str) else "")


def id_or_none(number: object) -> int | None:
    """Give a bare whole number that is short enough for an id."""
    if isinstance(number, NumberText) and number.isascii() and number.isdigit() and len(number) <= ID_DIGITS:
        return int(number)
    return None


def _given(row: dict[str, Any], field: str) -> object:
    value: object = row.get(field)
    if value is None:
        raise FieldError("missing-field", f"{field} is missing")
    return value


def id_field(row: dict[str, Any], field: str) -> int:
    """Trade id of a field. Raises FieldError where it is anything else."""
    number = _given(row, field)
    if not isinstance(number, NumberText):
        raise FieldError("wrong-type", f"{field} is no number")
    return trade_number(number)


def text_field(row: dict[str, Any], field: str) -> str:
    """Text of a field. Raises FieldError where it is missing or no text."""
    value = _given(row, field)
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise FieldError("wrong-type", f"{field} is no text")
    return value


def number_field(row: dict[str, Any], field: str) -> float:
    """Positive number of a field. Raises FieldError where it is anything else."""
    value = _given(row, field)
    if not isinstance(value, str):
        raise FieldError("wrong-type", f"{field} is no number")
    number = positive(value, field)  # text such as "NaN" gets its own reason before its type is blamed
    if not isinstance(value, NumberText):
        raise FieldError("wrong-type", f"{field} is text, not a number")
    return number
