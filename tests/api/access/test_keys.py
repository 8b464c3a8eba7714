from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from api.access.keys import SCOPES, ApiKey, digest_of, matches, new_key, split_token


class Watched(str):
    """A digest that notices a comparison which stops at the first difference."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared in a time that tells how far they agree")

    __hash__ = str.__hash__


def test_token_names_its_key_and_opens_only_that_one() -> None:
    key, token = new_key(0, SCOPES)
    other, _ = new_key(0, SCOPES)
    parts = split_token(token)
    assert parts is not None
    assert parts[0] == key.id
    assert matches(key, parts[1])
    assert not matches(other, parts[1])
    assert parts[1] not in repr(key)
    assert len(bytes.fromhex(parts[1])) * 8 >= 128


def test_one_wrong_character_anywhere_is_refused() -> None:
    key, token = new_key(0, SCOPES)
    secret = token.rpartition("_")[2]
    for at, was in enumerate(secret):
        wrong = secret[:at] + ("0" if was != "0" else "1") + secret[at + 1 :]
        assert not matches(key, wrong)


def test_whole_digest_is_compared() -> None:
    key, token = new_key(0, SCOPES)
    for at in (0, 8, 32, 63):
        other = "0" if key.digest[at] != "0" else "1"
        near = structs.replace(key, digest=key.digest[:at] + other + key.digest[at + 1 :])
        assert not matches(near, token.rpartition("_")[2])


def test_comparison_takes_the_same_time_for_every_wrong_secret() -> None:
    key, token = new_key(0, SCOPES)
    watched = structs.replace(key, digest=Watched(key.digest))
    assert matches(watched, token.rpartition("_")[2])
    assert not matches(watched, "0" * 48)


def test_key_ends_at_its_time_and_when_it_is_revoked() -> None:
    key = ApiKey("0" * 12, digest_of("x"), ("read",), 1_000, expires_ms=2_000)
    assert [key.state(at_ms) for at_ms in (1_000, 1_999, 2_000)] == ["active", "active", "expired"]
    assert structs.replace(key, revoked_ms=1_500).state(1_600) == "revoked"
    assert structs.replace(key, expires_ms=None).state(10**15) == "active"


@given(st.text() | st.from_regex(r"tk_[0-9a-f]{11,13}_[0-9a-f]{47,49}", fullmatch=True))
def test_only_whole_tokens_are_split(text: str) -> None:
    parts = split_token(text)
    if parts is not None:
        assert f"tk_{parts[0]}_{parts[1]}" == text
        assert (len(parts[0]), len(parts[1])) == (12, 48)
