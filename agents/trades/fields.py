"""Number, time and side texts to exact values. Every decoder checks a trade through these."""

from __future__ import annotations

import calendar
import re
from datetime import datetime
from functools import lru_cache
from typing import Final, NoReturn

from agents.trades.refusals import FieldError
from tables.records import Side

__all__ = [
    "FUTURE_NS",
    "ID_DIGITS",
    "MAX_TRADE_ID",
    "check_time",
    "epoch_ns",
    "positive",
    "rfc3339_ns",
    "trade_number",
    "unknown_pair",
]

FUTURE_NS: Final = 60_000_000_000
"""A trade this far after its receive time is refused."""
MAX_TRADE_ID: Final = 2**63 - 1
ID_DIGITS: Final = 19
NANO_DIGITS: Final = 9

_NUMBER: Final = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NOT_FINITE: Final = frozenset(("nan", "inf", "infinity"))
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d):([0-5]\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d", re.ASCII)
SECOND_DIGITS: Final = 11
"""Digits before the point of a time in seconds, at most."""
STAMP_CHARS: Final = 27
"""Of RFC 3339 in UTC with microseconds."""
_INFINITY: Final = float("inf")


def positive(text: str, field: str) -> float:
    """Parse decimal text to the nearest float; `field` is `price` or `qty`."""
    if text.isascii() and text.replace(".", "", 1).isdigit() and text[0] != "." and text[-1] != ".":
        value = float(text)  # the plain form, nearly always
        if 0.0 < value < _INFINITY:
            return value
    if _NUMBER.fullmatch(text) is None:
        if text.strip().lstrip("+-").lower() in _NOT_FINITE:
            raise FieldError(f"{field}-not-finite", f"{field} is {text}")
        raise FieldError("wrong-type", f"{field} is no decimal number")
    value = float(text)
    if value == _INFINITY:
        raise FieldError(f"{field}-not-finite", f"{field} {text} is beyond any float")
    if value <= 0:
        raise FieldError(f"{field}-not-positive", f"{field} is {text}")
    return value


def trade_number(text: str) -> int:
    """Parse a trade_id: a positive 64-bit counter."""
    if not (text.isascii() and text.isdigit() and len(text) <= ID_DIGITS):
        raise FieldError("trade-id-invalid", f"trade_id is {text[:40]!r}")
    number = int(text)
    if not 0 < number <= MAX_TRADE_ID:
        raise FieldError("trade-id-invalid", f"trade_id is {number}")
    return number


@lru_cache(maxsize=4096)
def _minute_ns(text: str) -> int:
    """Nanoseconds since the epoch of `YYYY-MM-DDTHH:MM`; trades crowd into few minutes: the cache is hit."""
    if _MINUTE.fullmatch(text) is None:
        raise ValueError("no date and minute")
    return calendar.timegm(datetime.fromisoformat(text.upper()).timetuple()) * 1_000_000_000


@lru_cache(maxsize=4096)
def _second_ns(text: str) -> int:
    """Nanoseconds since the epoch of `YYYY-MM-DDTHH:MM:SS`. Raises FieldError where it is none; errors are not kept."""
    return _rfc3339_ns(text + "Z")


def rfc3339_ns(text: str) -> int:
    """RFC 3339 with up to nine decimals to exact ns since the epoch."""
    micros = text[20:-1]
    if len(text) == STAMP_CHARS and text[19] == "." and text[26] == "Z" and micros.isdigit() and text.isascii():
        try:
            return _second_ns(text[:19]) + int(micros) * 1_000  # Kraken's form, always; trades crowd into few seconds
        except FieldError:
            return _rfc3339_ns(text)  # says what is wrong with the whole text
    return _rfc3339_ns(text)


def _rfc3339_ns(text: str) -> int:
    """Every other form: whole seconds, offsets, lower case."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FieldError("timestamp-invalid", f"timestamp {text[:60]!r} is not RFC 3339")
    minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        at_ns = _minute_ns(minute) + int(second) * 1_000_000_000
    except ValueError as error:
        raise FieldError("timestamp-invalid", f"timestamp {text[:60]!r}: {error}") from error
    if sign:
        offset_ns = (3600 * int(hours) + 60 * int(minutes)) * 1_000_000_000
        at_ns += -offset_ns if sign == "+" else offset_ns
    return at_ns + (int(fraction.ljust(9, "0")) if fraction else 0)


def epoch_ns(text: str) -> int:
    """Decimal seconds since the epoch, as text, to exact ns (a float would lose 100 ns)."""
    seconds, _, fraction = text.partition(".")
    digits = seconds + fraction
    if not (
        digits.isdigit() and digits.isascii() and 0 < len(seconds) <= SECOND_DIGITS and len(fraction) <= NANO_DIGITS
    ):
        raise FieldError("timestamp-invalid", f"time {text[:60]!r} is no decimal number of seconds")
    return int(seconds + fraction.ljust(NANO_DIGITS, "0"))


def check_side(side: str) -> Side:
    """Refuse anything but the two sides of a taker."""
    if side == "buy":
        return "buy"
    if side == "sell":
        return "sell"
    raise FieldError("side-unknown", f"side is {side[:40]!r}")


def unknown_pair(symbol: str) -> NoReturn:
    """Refuse a trade of a pair that was not asked for."""
    raise FieldError("unknown-pair", f"{symbol[:40]!r} is not in TICKCAST_PAIRS")


def check_time(ts_ns: int, received_ns: int) -> int:
    """Refuse times before the epoch and from the future."""
    if ts_ns <= 0:
        raise FieldError("timestamp-invalid", f"{ts_ns} ns is not after the epoch")
    if ts_ns > received_ns + FUTURE_NS:
        ahead_s = (ts_ns - received_ns) // 1_000_000_000
        raise FieldError("future-timestamp", f"{ahead_s} s after it was received; check this machine's clock")
    return ts_ns
