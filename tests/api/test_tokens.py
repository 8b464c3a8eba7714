from __future__ import annotations

import contextlib
import string
from collections.abc import Callable
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.tokens import BadTokenError, ForecastId, cursor, forecast_id, read_cursor, read_id
from tables.clickhouse.history import ErrorKey, ForecastKey
from tests.support.samples import forecast

INTS = st.integers(0, 2**53)
TEXTS = st.text(max_size=200)
KEYS = st.builds(ForecastKey, INTS, INTS, INTS, INTS, TEXTS)
QUESTIONS = st.tuples(st.sampled_from(["candles", "forecasts"]), TEXTS, st.none() | INTS, INTS, INTS)
URL_SAFE = set(string.ascii_letters + string.digits + "-_")


@given(QUESTIONS, KEYS)
def test_a_cursor_gives_its_key_back_and_is_safe_in_a_url(question: tuple[object, ...], key: ForecastKey) -> None:
    text = cursor(question, key)
    assert read_cursor(text, question, ForecastKey) == key
    assert set(text) <= URL_SAFE


@given(QUESTIONS, QUESTIONS, KEYS)
def test_a_cursor_of_another_question_is_refused(
    question: tuple[object, ...], other: tuple[object, ...], key: ForecastKey
) -> None:
    if question != other:
        with pytest.raises(BadTokenError, match="another question"):
            read_cursor(cursor(question, key), other, ForecastKey)


def test_a_cursor_of_another_kind_of_row_is_refused() -> None:
    text = cursor(("q",), ErrorKey(1, 2, "a", "b"))
    with pytest.raises(BadTokenError, match="gave out"):
        read_cursor(text, ("q",), ForecastKey)
    with pytest.raises(BadTokenError, match="gave out"):
        read_cursor(cursor(("q",), (-1,)), ("q",), tuple[Annotated[int, msgspec.Meta(ge=0)]])


@given(st.text(max_size=80) | st.text(sorted(URL_SAFE), max_size=80))
def test_what_was_never_given_out_is_refused(text: str) -> None:
    with pytest.raises(BadTokenError):
        read_cursor(text, ("q",), ForecastKey)
    with pytest.raises(BadTokenError):
        read_id(text)


@given(KEYS, st.data())
def test_no_second_text_means_the_same_cursor(key: ForecastKey, data: st.DataObject) -> None:
    text = cursor(("q",), key)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from(sorted(URL_SAFE | {"=", "+", "/", "\n"}))) + text[at + 1 :]
    if changed != text:
        with contextlib.suppress(BadTokenError):
            assert read_cursor(changed, ("q",), ForecastKey) != key


def test_the_id_of_a_forecast_names_what_makes_it_the_one() -> None:
    one = forecast()
    assert read_id(forecast_id(one)) == ForecastId("BTC/USD", 60, one.feature_open_ms, "ewma", "1")
    others = [
        forecast(1),
        forecast(horizon_s=300),
        forecast(pair="ETH/USD"),
        forecast(model="catboost"),
        forecast(model_version="2"),
    ]
    assert len({forecast_id(row) for row in [one, *others]}) == 6
    assert forecast_id(forecast(made_at_ms=1, revision=3)) == forecast_id(one)


@pytest.mark.parametrize(
    "change", [lambda text: f"{text}=", lambda text: f"{text[:3]}\n{text[3:]}", lambda text: f"{text}!"]
)
def test_only_the_very_text_that_was_given_out_is_read(change: Callable[[str], str]) -> None:
    text = cursor(("q",), (1,))
    assert read_cursor(text, ("q",), tuple[int]) == (1,)
    with pytest.raises(BadTokenError):
        read_cursor(change(text), ("q",), tuple[int])
