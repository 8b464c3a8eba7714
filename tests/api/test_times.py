from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.times import MAX_MS, parse_ms, rfc3339


@given(st.integers(0, MAX_MS))
def test_both_forms_of_a_time_mean_the_same(at_ms: int) -> None:
    assert parse_ms(str(at_ms)) == at_ms
    assert parse_ms(rfc3339(at_ms)) == at_ms


@pytest.mark.parametrize(
    "text", ["2018-05-13T02:00:00+02:00", "2018-05-13T02:00:00 02:00", "2018-05-13T00:00:00Z", "1526169600000"]
)
def test_offsets_are_read_even_where_the_plus_was_not_encoded(text: str) -> None:
    assert parse_ms(text) == 1_526_169_600_000


@pytest.mark.parametrize("text", ["", "yesterday", "2018-05-13T00:00:00", "-1", "1e9", "9" * 16, "9" * 5_000, "٣"])
def test_anything_else_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"epoch|offset|1970"):
        parse_ms(text)


@given(st.text(max_size=40))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_ms(text) <= MAX_MS
