from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.trades.fields import _rfc3339_ns, check_time, epoch_ns, positive, rfc3339_ns, trade_number
from agents.trades.refusals import REASONS, FieldError

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001  # made aware below
    st.integers(0, 999_999_999),
    st.integers(0, 9),
)
def test_rfc3339_is_exact_to_the_nanosecond(moment: datetime, nanos: int, digits: int) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    nanos -= nanos % 10 ** (9 - digits)
    fraction = f".{nanos:09d}"[: digits + 1] if digits else ""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
    assert rfc3339_ns(text) == (moment - EPOCH) // timedelta(seconds=1) * 1_000_000_000 + nanos


STAMPS = st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9+٣]{6}[Zz]\Z")


@given(
    STAMPS
    | st.text(min_size=27, max_size=27)
    | st.sampled_from(("2024-05-27T12:33:60.000000Z", "2024-02-30T12:33:10.826003Z"))
)
def test_the_short_way_to_a_time_is_the_long_way(text: str) -> None:
    def told(parse: Callable[[str], int]) -> object:
        try:
            return parse(text)
        except FieldError as error:
            return error.reason, error.detail

    assert told(rfc3339_ns) == told(_rfc3339_ns)


def test_rfc3339_offsets_are_taken_off() -> None:
    assert rfc3339_ns("2024-05-27T14:33:10.5+02:00") == rfc3339_ns("2024-05-27T12:33:10.5Z")
    assert rfc3339_ns("2024-05-27T07:03:10-05:30") == rfc3339_ns("2024-05-27T12:33:10Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-05-27",
        "2024-05-27 12:33:10",
        "2024-05-27T12:33:10",
        "2024-05-27T12:33:60Z",
        "2024-13-27T12:33:10Z",
        "2024-05-27T12:33:10.1234567890Z",
        "2024-05-27T12:33:10.Z",
        "٢٠٢٤-05-27T12:33:10Z",
    ],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(FieldError) as caught:
        rfc3339_ns(text)
    assert caught.value.reason == "timestamp-invalid"


@given(st.integers(0, 10**11 - 1), st.integers(0, 999_999_999))
def test_epoch_seconds_are_exact_to_the_nanosecond(seconds: int, nanos: int) -> None:
    assert epoch_ns(f"{seconds}.{nanos:09d}") == seconds * 10**9 + nanos


@given(st.decimals(min_value="0.00000001", max_value="1e15", places=8))
def test_price_is_the_float_nearest_to_its_decimal_text(value: Decimal) -> None:
    assert positive(f"{value:f}", "price") == float(value)


@given(st.text(max_size=60))
def test_any_text_is_a_positive_number_or_refused_with_a_known_reason(text: str) -> None:
    for parse in (lambda: positive(text, "qty"), lambda: rfc3339_ns(text), lambda: trade_number(text)):
        reason = "unknown-pair"
        try:
            parse()
        except FieldError as error:
            reason = error.reason
        assert reason in REASONS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "price-not-finite"),
        ("-Infinity", "price-not-finite"),
        ("1e999", "price-not-finite"),
        ("0", "price-not-positive"),
        ("-1.5", "price-not-positive"),
        ("1e-999", "price-not-positive"),
        ("1_000", "wrong-type"),
        (" 5", "wrong-type"),
        ("0x10", "wrong-type"),
        ("", "wrong-type"),
    ],
)
def test_a_bad_number_says_why(text: str, reason: str) -> None:
    with pytest.raises(FieldError) as caught:
        positive(text, "price")
    assert caught.value.reason == reason


def test_a_minute_ahead_is_tolerated_and_no_more() -> None:
    now_ns = 1_700_000_000_000_000_000
    assert check_time(now_ns + 60_000_000_000, now_ns)
    with pytest.raises(FieldError, match="check this machine's clock"):
        check_time(now_ns + 60_000_000_001, now_ns)
