"""The keys as a running API sees them: changes of the file are seen within a second."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from api.access import keyfile
from api.access.keys import ApiKey, matches, split_token
from redpanda.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Keyring"]

log = logging.getLogger("tickcast.api")

LOOK_S: Final = 1.0
"""How often the file's time is looked at, s; a look costs some microseconds."""


class Keyring:
    """Check tokens against the file.

    Parameters
    ----------
    clock_s
        Monotonic, s: when to look at the file again.
    wall_ms
        Epoch ms: what has expired.
    """

    def __init__(self, file: Path, clock_s: Callable[[], float], wall_ms: Callable[[], int]) -> None:
        self._file = file
        self._clock_s = clock_s
        self._wall_ms = wall_ms
        self._keys: dict[str, ApiKey] = {}
        self._seen: tuple[int, ...] | None = None
        self._look_s = float("-inf")
        self.trouble = ""
        """Why the file cannot be read; then no key is good, as one of them may be revoked."""
        self.used_ms: dict[str, int] = {}
        """When each key was used last, since somebody took the answers away."""

    def check(self, token: str) -> ApiKey | str:
        """Give the key of a token, or what is wrong with it: `malformed`, `unknown`, `revoked`, `expired`."""
        parts = split_token(token)
        if parts is None:
            return "malformed"
        self.refresh()
        key = self._keys.get(parts[0])
        if key is None or not matches(key, parts[1]):
            return "unknown"
        now_ms = self._wall_ms()
        state = key.state(now_ms)
        if state != "active":
            return state
        self.used_ms[key.id] = now_ms
        return key

    def state(self, key_id: str) -> str:
        """`active`, `expired` or `revoked` now; a key that left the file is revoked."""
        self.refresh()
        key = self._keys.get(key_id)
        return "revoked" if key is None else key.state(self._wall_ms())

    def refresh(self) -> None:
        """Read the file where it has changed, at most once a second."""
        now_s = self._clock_s()
        if now_s - self._look_s < LOOK_S:
            return
        self._look_s = now_s
        seen = _look(self._file)
        if seen == self._seen and not self.trouble:
            return
        try:
            self._keys = keyfile.read(self._file)
        except (OSError, BadInputError) as error:
            if not self.trouble:
                log.error("no API key is accepted: %s", error)  # noqa: TRY400  # the text says it all
            self._keys, self.trouble = {}, str(error)
        else:
            self.trouble = ""
            self._seen = seen


def _look(file: Path) -> tuple[int, ...]:
    """Give what changes with every replacement of the file; empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
