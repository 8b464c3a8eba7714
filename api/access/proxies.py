"""Who the client is when proxies stand between: only trusted ones are believed. Pure."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Networks", "Proxies", "address_of", "forwarded_hops"]

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
CACHED: Final = 4_096
_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?\Z|(\d+\.\d+\.\d+\.\d+):\d{1,5}\Z")
_PAIR: Final = re.compile(r'\s*([A-Za-z0-9_-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))\s*(;|,|\Z)')


class Proxies:
    """Walk from the peer towards the client, as far as each hop is a trusted proxy.

    Parameters
    ----------
    header
        `x-forwarded-for` or `forwarded` (RFC 7239): the one that the proxies set.
    """

    def __init__(self, networks: Networks, header: str) -> None:
        self._networks = networks
        self.header = header.encode()
        self._hops: Callable[[str], list[str]] = forwarded_hops if header == "forwarded" else _listed
        self._trusted: Callable[[str], bool] = lru_cache(CACHED)(self._is_trusted)

    def client(self, peer: str, header: bytes | None) -> str:
        """Give the client's address.

        Read from the right: what a proxy appended stands right of what the client itself sent. The first hop that is
        not trusted is the client; at one that is no address the proxy that sent it on stands for it.
        """
        address = address_of(peer)
        if address is None:
            return peer
        if header is None or not self._networks or not self._trusted(address):
            return address
        for hop in reversed(self._hops(header.decode("latin-1"))):
            behind = address_of(hop)
            if behind is None:
                break
            address = behind
            if not self._trusted(address):
                break
        return address

    def _is_trusted(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._networks)


@lru_cache(CACHED)
def address_of(text: str) -> str | None:
    """Give an address in its one form, without port and brackets; None where it is none."""
    found = _WITH_PORT.match(text)
    try:
        address = ipaddress.ip_address((found[1] or found[2]) if found else text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.scope_id is not None:
            return None
    return str(address)


def forwarded_hops(text: str) -> list[str]:
    """Give the `for` of each hop of a Forwarded header, empty where one has none.

    One fault makes it no hops at all: an open quote of the client would swallow what the proxies appended.
    """
    hops: list[str] = []
    names: set[str] = set()
    hop, at = "", 0
    while at < len(text) or not hops:
        found = _PAIR.match(text, at)
        name = found[1].lower() if found else ""
        if found is None or name in names:
            return []
        names.add(name)
        if name == "for":
            hop = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        if found[4] != ";":
            hops.append(hop)
            hop, names = "", set()
        at = found.end()
        if found[4] and at >= len(text):
            return []
    return hops


def _listed(text: str) -> list[str]:
    return _stripped(text.split(","))


def _stripped(parts: Iterable[str]) -> list[str]:
    return [part.strip() for part in parts]
