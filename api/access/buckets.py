"""Token buckets. Pure: the clock is passed in."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

__all__ = ["Buckets", "Verdict"]


class Verdict(NamedTuple):
    """What one try came to."""

    wait_s: float
    """0: taken. Else: refused, and one more is free after so long, s."""
    left: int
    """How many more may come at once (count)."""
    full_s: float
    """When the bucket is full again if nobody takes, s from now."""


class Buckets:
    """One bucket for each name, at most so many.

    A bucket is one number, the time at which it will be full: `left = burst - (full - now) * rate`. It is the same as
    the generic cell rate algorithm (ITU-T I.371), and a full bucket needs no memory. The one that was not asked for
    longest is forgotten first, which is as good as full unless all of them are busy.
    """

    def __init__(self, buckets_max: int) -> None:
        self._max = buckets_max
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, name: str, now_s: float, rate: float, burst: float) -> Verdict:
        """Take one token out of the bucket of `name`; a refused try takes none.

        Parameters
        ----------
        rate
            Tokens that flow in, 1/s, above 0.
        burst
            Tokens of a full bucket, at least 1.
        """
        known = self._full_at_s
        before_s = max(known.get(name, now_s) - now_s, 0.0)
        after_s = before_s + 1 / rate
        wait_s = after_s - burst / rate
        if wait_s > 1e-9:  # noqa: PLR2004  # what rounding leaves of a token that is there
            return Verdict(wait_s, int(burst - before_s * rate + 1e-9), before_s)
        if name not in known and len(known) >= self._max:
            known.popitem(last=False)
        known[name] = now_s + after_s
        known.move_to_end(name)
        return Verdict(0.0, int(burst - after_s * rate + 1e-9), after_s)
