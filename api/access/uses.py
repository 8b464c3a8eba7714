"""When keys were used last: a file beside the keys, so that these can be read-only. Several API processes share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.access.keyfile import locked, replace

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["last_uses", "note_uses"]

FILE: Final = "used.json"


def last_uses(home: Path) -> dict[str, int]:
    """Give epoch ms by key id, to the minute or so; empty where nothing is readable, as nothing hangs on it."""
    try:
        return msgspec.json.decode((home / "access" / FILE).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


def note_uses(home: Path, used_ms: dict[str, int]) -> None:
    """Put later times in. OSError where the folder cannot be written."""
    file = home / "access" / FILE
    with locked(file):
        known = last_uses(home)
        for key_id, at_ms in used_ms.items():
            known[key_id] = max(at_ms, known.get(key_id, 0))
        replace(file, msgspec.json.encode(known))
