"""By which names the API may be called, and by which web pages: against DNS rebinding and foreign pages. Pure."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Hosts", "Origins", "is_loopback", "split_host", "split_origin"]

_HOST: Final = re.compile(
    r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\.?)(?::(?P<port>\d{1,5}))?\Z"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
CACHED: Final = 256


def split_host(text: str) -> tuple[str, str] | None:
    """Give name and port (empty where it is not told) of a Host header, None where it is none."""
    found = _HOST.match(text.lower())
    if found is None:
        return None
    return found["v6"] or found["name"], found["port"] or ""


def split_origin(text: str) -> tuple[str, str, str] | None:
    """Give scheme, name and port of an Origin header, None where it is none (`null` is none)."""
    scheme, mark, rest = text.lower().partition("://")
    host = split_host(rest)
    if not mark or scheme not in _DEFAULT_PORTS or host is None:
        return None
    return scheme, host[0], host[1] or _DEFAULT_PORTS[scheme]


def is_loopback(host: str) -> bool:
    """Tell whether a host or address is this machine's loopback."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


class Hosts:
    """Which Host headers are answered.

    A rebound name is somebody else's name: an address cannot be one. Where the API listens on all addresses, every
    address is taken, and names only from the list.
    """

    def __init__(self, bound: str, allowed: tuple[str, ...]) -> None:
        self._bound = bound.lower()
        self._any = "*" in allowed
        self._names = frozenset(name for name in allowed if not name.startswith("*"))
        self._suffixes = tuple(name[1:] for name in allowed if name.startswith("*."))
        bound_address = _address(bound)
        self._any_address = bound_address is not None and bound_address.is_unspecified
        self.allows: Callable[[bytes], bool] = lru_cache(CACHED)(self._allows)

    def _allows(self, header: bytes) -> bool:
        if self._any:
            return True
        host = split_host(header.decode("latin-1"))
        if host is None:
            return False
        name = host[0]
        if is_loopback(name) or name == self._bound or name in self._names or name.endswith(self._suffixes):
            return True
        return self._any_address and _address(name) is not None


class Origins:
    """Which web pages may use the API: its own, and those of the list."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._any = "*" in allowed
        self._allowed = {split_origin(text) for text in allowed} - {None}
        self.listed: Callable[[bytes], bool] = lru_cache(CACHED)(self._listed)

    @property
    def empty(self) -> bool:
        """Whether no foreign page may."""
        return not self._any and not self._allowed

    def _listed(self, origin: bytes) -> bool:
        return self._any or split_origin(origin.decode("latin-1")) in self._allowed

    def may_connect(self, origin: bytes | None, host: bytes) -> bool:
        """Tell whether a WebSocket of this page is taken. Programs send no origin; browsers always do."""
        if origin is None or self.listed(origin):
            return True
        page, own = split_origin(origin.decode("latin-1")), split_host(host.decode("latin-1"))
        # Behind a proxy that ends TLS the page is https and we are not: the port tells, where it is told.
        return page is not None and own is not None and page[1:] == (own[0], own[1] or _DEFAULT_PORTS[page[0]])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
