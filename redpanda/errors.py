"""The one exception tree of tickcast. Every text names the operator's next step."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["BadInputError", "ConfigError", "MissingToolError", "TickcastError", "UnreachableError"]


class TickcastError(Exception):
    """Root of all errors that tickcast raises on purpose."""

    retriable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


class ConfigError(TickcastError):
    """A setting is wrong, or two of them contradict each other."""


class MissingToolError(TickcastError):
    """A program or an optional package that this command needs is not installed."""


class UnreachableError(TickcastError):
    """A broker, store, registry or exchange did not answer."""

    retriable: ClassVar[bool] = True


class BadInputError(TickcastError):
    """A record, file or frame broke its contract; it belongs into `dead-letters`."""
