"""Rates of callers, and how they are told (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

import ipaddress
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from api.access.buckets import Buckets

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.access.headers import Headers

__all__ = ["Limits", "Share", "bucket_of"]

RATE_MIN: Final = 0.001
"""One in a quarter of an hour is the least that is counted right, 1/s."""
V6_PREFIX: Final = 64
"""One subscriber has a whole /64 of IPv6 addresses."""


class Share(NamedTuple):
    """What one request may still have."""

    wait_s: int
    """0: go on. Else: try again after so many whole seconds."""
    headers: Headers


class Limits:
    """Count requests by caller."""

    def __init__(self, clock_s: Callable[[], float], burst_s: float, buckets_max: int) -> None:
        self._clock_s = clock_s
        self._burst_s = burst_s
        self._buckets = Buckets(buckets_max)

    def take(self, name: str, rate: float, policy: str) -> Share:
        """Count one request of `name` against `rate` (1/s; 0: no limit).

        Parameters
        ----------
        policy
            Name of the limit in the headers, `anonymous` or `key`.
        """
        if not rate:
            return Share(0, [])
        rate = max(rate, RATE_MIN)
        burst = max(1.0, rate * self._burst_s)
        verdict = self._buckets.take(name, self._clock_s(), rate, burst)
        headers = [
            (b"ratelimit-policy", _policy(policy, rate, burst)),
            (b"ratelimit", b'"%b";r=%d;t=%d' % (policy.encode(), verdict.left, math.ceil(verdict.full_s))),
        ]
        return Share(math.ceil(verdict.wait_s), headers)


@lru_cache(1_024)
def _policy(name: str, rate: float, burst: float) -> bytes:
    """`q` requests in any `w` seconds, which is the bucket as a quota."""
    return b'"%b";q=%d;w=%d' % (name.encode(), burst, max(1, math.ceil(burst / rate)))


@lru_cache(4_096)
def bucket_of(address: str) -> str:
    """Give the name that an address is counted by: IPv4 by itself, IPv6 by its /64."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, V6_PREFIX), strict=False))
