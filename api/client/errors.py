"""What the client raises; a lost connection is no error but a `State`."""

from __future__ import annotations

from redpanda.errors import TickcastError

__all__ = ["FeedClientError", "FeedRefusedError", "FeedRequestError"]


class FeedClientError(TickcastError):
    """Something that trying again does not mend."""


class FeedRefusedError(FeedClientError):
    """The server does not let this client in: a wrong key, a missing scope, a wrong address."""


class FeedRequestError(FeedClientError):
    """The server refused one request, or did not answer it; it changed nothing.

    Attributes
    ----------
    code
        Of docs/feed.md, for example `unknown-pair`; `no-answer` where none came.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
