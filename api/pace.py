"""How often a client may speak: a bucket of tokens, without a clock of its own."""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """So many at once, and after that so many a second."""

    __slots__ = ("_at_s", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left = self._burst
        self._at_s = now_s

    def allows(self, now_s: float) -> bool:
        """Take one, or say that there is none left at this monotonic time."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
