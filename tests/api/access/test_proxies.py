from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.proxies import Proxies, address_of, forwarded_hops

NETWORKS = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
PROXIES = Proxies(NETWORKS, "x-forwarded-for")
FORWARDED = Proxies(NETWORKS, "forwarded")
V4 = st.ip_addresses(v=4).map(str)
ADDRESSES = st.ip_addresses().map(str)
CLIENTS = ADDRESSES.filter(lambda text: not any(ipaddress.ip_address(text) in network for network in NETWORKS))
TRUSTED = st.sampled_from(["10.0.0.1", "10.9.9.9", "fd00::1"])
JUNK = st.text(st.characters(max_codepoint=255, exclude_characters=","))


@given(ADDRESSES, st.binary())
def test_word_of_a_peer_that_is_not_trusted_is_nothing(peer: str, header: bytes) -> None:
    stranger = Proxies((), "x-forwarded-for").client(peer, header)
    assert stranger == address_of(peer)


@given(st.lists(JUNK | ADDRESSES | TRUSTED, max_size=4), CLIENTS, st.lists(TRUSTED, max_size=3))
def test_client_is_the_first_from_the_right_that_is_no_proxy(sent: list[str], client: str, hops: list[str]) -> None:
    """Whatever the client itself wrote stands left of what the proxies appended."""
    header = ",".join([*sent, client, *hops]).encode("latin-1")
    assert PROXIES.client("10.0.0.1", header) == address_of(client)


@given(st.lists(JUNK, max_size=3), CLIENTS)
def test_client_cannot_write_itself_another_address_in_forwarded(sent: list[str], client: str) -> None:
    """At worst it counts as the proxy that it came through."""
    node = f'"[{client}]:4711"' if ":" in client else client
    header = ", ".join([*sent, f"for={node};proto=https;by=10.0.0.1"]).encode("latin-1")
    assert FORWARDED.client("10.0.0.1", header) in (address_of(client), "10.0.0.1")


def test_forwarded_of_well_behaved_proxies_is_read() -> None:
    header = b'for=spoofed, for="[2001:db8:cafe::17]:4711";proto=https, For=10.1.1.1;by=10.0.0.1'
    assert FORWARDED.client("10.0.0.1", header) == "2001:db8:cafe::17"
    assert FORWARDED.client("10.0.0.1", b"for=192.0.2.60;proto=http;by=203.0.113.43") == "192.0.2.60"


@pytest.mark.parametrize(
    "header",
    [
        'for="',
        'for="a\\',
        'for="x" y, for=1.2.3.4',
        "for=1.2.3.4, x",
        "for=1.2.3.4,",
        "for=1.2.3.4;for=5.6.7.8",
        "",
        "x",
        '"',
    ],
)
def test_fault_in_forwarded_makes_it_no_hops(header: str) -> None:
    assert forwarded_hops(header) == []


def test_open_quote_of_a_client_swallows_no_hop() -> None:
    spoof = b'for="203.0.113.9, for="[2001:db8::1]"'
    assert FORWARDED.client("10.0.0.1", spoof) == "10.0.0.1"


def test_chain_of_trusted_hops_alone_ends_at_its_first() -> None:
    assert PROXIES.client("10.0.0.1", b"10.2.2.2, 10.0.0.9") == "10.2.2.2"
    assert PROXIES.client("10.0.0.1", None) == "10.0.0.1"


@pytest.mark.parametrize("hop", ["unknown", "", "_hidden", "1.2.3", "fe80::1%eth0", "1.2.3.4.5", "999.1.1.1"])
def test_hop_that_is_no_address_stops_the_walk(hop: str) -> None:
    assert PROXIES.client("10.0.0.1", f"192.0.2.1, {hop}, 10.0.0.7".encode()) == "10.0.0.7"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1:80", "192.0.2.1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("2001:db8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("localhost", None),
    ],
)
def test_address_has_one_form(text: str, address: str | None) -> None:
    assert address_of(text) == address


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = address_of(text)
    assert found is None or str(ipaddress.ip_address(found)) == found
