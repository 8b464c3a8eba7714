"""When a batch counts as stored: tokens of its attempts, and what the store's yes to each is worth."""

from __future__ import annotations

__all__ = ["Attempts"]


class Attempts:
    """The attempts to store one batch, pure: ask for `token`, insert, tell how it went.

    Within one token a repeat is safe: an attempt that hangs and lands after all does nothing. But a single server
    writes down the token before it gives the rows their place (ClickHouse 26.9: 0.1 ms, seen by strace). Killed in
    between, it answers the repeat with yes and has no rows. So a yes to a repeat only proves that no older attempt
    can land any more. The batch then goes once more under a new token, and what counts is the yes to a first attempt.

    Parameters
    ----------
    name
        The batch's own name, which no other batch has.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._renewed = 0
        self._repeats = False

    @property
    def token(self) -> str:
        """The deduplication token of the next attempt."""
        return f"{self._name}~{self._renewed}" if self._renewed else self._name

    def failed(self) -> None:
        """Note that an attempt had no answer: the store may have the rows, or may yet get them."""
        self._repeats = True

    def proven(self) -> bool:
        """Say whether the yes that came now proves that the rows are there; if not, insert with the new token."""
        if not self._repeats:
            return True
        self._renewed += 1
        self._repeats = False
        return False
