from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.hosts import Hosts, Origins, split_host, split_origin

LOCAL = Hosts("127.0.0.1", ())
ANY_ADDRESS = Hosts("0.0.0.0", ("api.example.com", "*.internal.example"))  # noqa: S104  # what a container listens on


@pytest.mark.parametrize(
    "host", [b"localhost", b"LocalHost:18000", b"127.0.0.1:1", b"[::1]:80", b"localhost.", b"127.8.8.8"]
)
def test_loopback_names_are_answered(host: bytes) -> None:
    assert LOCAL.allows(host)
    assert ANY_ADDRESS.allows(host)


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"192.168.1.7:18000",
        b"localhost, evil.example",
        b"localhost@evil.example",
        b"[::1",
        b"localhost:80:80",
        b"",
        b"\xff",
    ],
)
def test_rebound_or_broken_names_are_not(host: bytes) -> None:
    assert not LOCAL.allows(host)


def test_listed_names_and_addresses_are_answered_where_all_addresses_are_bound() -> None:
    for host in (
        b"api.example.com",
        b"API.example.com:443",
        b"a.b.internal.example",
        b"10.0.0.3:18000",
        b"[2001:db8::1]",
    ):
        assert ANY_ADDRESS.allows(host), host
    for host in (b"example.com", b"internal.example", b"evilinternal.example", b"api.example.com.evil.example"):
        assert not ANY_ADDRESS.allows(host), host
    assert Hosts("127.0.0.1", ("*",)).allows(b"anything at all")
    assert Hosts("192.168.1.7", ()).allows(b"192.168.1.7:18000")


@given(st.text(st.characters(max_codepoint=255)))
def test_any_host_header_is_split_or_refused(text: str) -> None:
    found = split_host(text)
    if found is not None:
        assert not set(found[0]) & set(" ,/@\\\"'<>")
        assert found[1] == "" or found[1].isdigit()


@pytest.mark.parametrize(
    ("origin", "host", "taken"),
    [
        (None, b"127.0.0.1:18000", True),
        (b"http://127.0.0.1:18000", b"127.0.0.1:18000", True),
        (b"https://api.example.com", b"api.example.com", True),  # behind TLS
        (b"https://api.example.com", b"api.example.com:443", True),
        (b"http://127.0.0.1:8080", b"127.0.0.1:18000", False),
        (b"http://localhost:18000", b"127.0.0.1:18000", False),
        (b"https://evil.example", b"127.0.0.1:18000", False),
        (b"null", b"127.0.0.1:18000", False),
        (b"", b"127.0.0.1:18000", False),
        (b"https://127.0.0.1:18000, http://a", b"127.0.0.1:18000", False),
        (b"https://app.example.com", b"127.0.0.1:18000", True),
        (b"https://app.example.com:8443", b"127.0.0.1:18000", False),
        (b"http://app.example.com", b"127.0.0.1:18000", False),
    ],
)
def test_foreign_page_may_connect_only_if_it_is_listed(origin: bytes | None, host: bytes, taken: bool) -> None:
    assert Origins(("https://app.example.com",)).may_connect(origin, host) is taken


def test_no_list_is_no_origin_and_a_star_is_any() -> None:
    assert Origins(()).empty
    assert not Origins(("*",)).empty
    assert Origins(("*",)).listed(b"https://anybody.example")
    assert not Origins(("https://a.example",)).listed(b"garbage")


@given(st.text(st.characters(max_codepoint=255)))
def test_any_origin_is_split_or_refused(text: str) -> None:
    found = split_origin(text)
    assert found is None or found[0] in ("http", "https")
