from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.headers import COUNT_MAX, SIZE_MAX, key_token, pick, sane_id
from api.access.keys import split_token

NAMES = st.sampled_from([b"host", b"authorization", b"x-api-key", b"accept", b"x-request-id", b"cookie"])
TOKEN = "tk_" + "a" * 12 + "_" + "b" * 48


@given(st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=80))
def test_what_matters_is_picked_within_bounds(headers: list[tuple[bytes, bytes]]) -> None:
    found = pick(headers)
    size = sum(len(name) + len(value) for name, value in headers)
    assert (found is None) == (len(headers) > COUNT_MAX or size > SIZE_MAX)
    if found is not None:
        assert set(found) == {name for name, _ in headers} - {b"accept", b"cookie"}


@given(st.binary())
def test_any_authorization_is_a_token_or_none(value: bytes) -> None:
    token = key_token({b"authorization": value})
    assert token is not None
    if split_token(token) is not None:
        assert value.decode("latin-1").strip().lower().startswith("bearer ")


@pytest.mark.parametrize("value", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", f"BEARER {TOKEN}"])
def test_bearer_is_read_in_any_case(value: str) -> None:
    assert key_token({b"authorization": value.encode()}) == TOKEN


@pytest.mark.parametrize(
    "value", [TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}, Bearer {TOKEN}", "Bearer", "", f"Bearer{TOKEN}"]
)
def test_other_forms_are_no_token(value: str) -> None:
    assert split_token(key_token({b"authorization": value.encode()}) or "") is None


def test_key_may_come_in_its_own_header_but_two_must_agree() -> None:
    assert key_token({}) is None
    assert key_token({b"x-api-key": TOKEN.encode()}) == TOKEN
    assert key_token({b"x-api-key": TOKEN.encode(), b"authorization": f"Bearer {TOKEN}".encode()}) == TOKEN
    assert key_token({b"x-api-key": b"tk_other", b"authorization": f"Bearer {TOKEN}".encode()}) == ""
    twice = pick([(b"x-api-key", TOKEN.encode()), (b"x-api-key", TOKEN.encode())])
    assert twice is not None
    assert split_token(key_token(twice) or "") is None


def test_browser_may_offer_its_key_as_a_subprotocol_of_a_socket_only() -> None:
    picked = {b"sec-websocket-protocol": f"tickcast, {TOKEN}".encode()}
    assert key_token(picked, socket=True) == TOKEN
    assert key_token(picked) is None
    assert key_token({b"sec-websocket-protocol": b"tickcast"}, socket=True) is None


@given(st.binary(max_size=80))
def test_only_sane_request_ids_are_taken(value: bytes) -> None:
    found = sane_id(value)
    assert found is None or (found.isascii() and 1 <= len(found) <= 64 and found.isprintable() and " " not in found)


def test_request_id_of_the_usual_forms_is_taken() -> None:
    for value in (b"0b9e2a7e-1111-4222-8333-123456789abc", b"req_1.2", b"A"):
        assert sane_id(value) == value.decode()
    assert sane_id(None) is None
    for value in (b"", b"a b", b"a\n", b"x" * 65, b"a;b"):
        assert sane_id(value) is None
