"""The file of the keys: read whole, replaced whole, one writer at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from api.access.keys import SCOPES, ApiKey
from redpanda.errors import BadInputError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["add", "locked", "read", "replace", "revoke"]

KEYS_MAX: Final = 10_000


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: list[ApiKey]


def read(file: Path) -> dict[str, ApiKey]:
    """Give all keys by id, none where there is no file yet; BadInputError where it is damaged."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        found = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInputError(f"the keys file {file} is damaged ({error}): bring it back from a copy") from None
    if found.version != 1 or any(set(key.scopes) - set(SCOPES) for key in found.keys):
        raise BadInputError(f"the keys file {file} was written by a newer tickcast: use that one")
    return {key.id: key for key in found.keys}


def add(file: Path, key: ApiKey) -> None:
    """Put one key in."""
    with locked(file):
        keys = read(file)
        if len(keys) >= KEYS_MAX:
            raise ConfigError(
                f"{KEYS_MAX:,} keys are as many as {file} may hold: `tickcast keys revoke --forget` old ones"
            )
        _write(file, keys | {key.id: key})


def revoke(file: Path, key_id: str, at_ms: int, *, forget: bool = False) -> ApiKey:
    """Let a key end now and give it; with `forget` it also leaves the list. ConfigError where there is none."""
    with locked(file):
        keys = read(file)
        key = keys.get(key_id)
        if key is None:
            raise ConfigError(f"there is no key {key_id!r} in {file}: `tickcast keys list` shows them")
        if key.revoked_ms is None:
            key = msgspec.structs.replace(key, revoked_ms=at_ms)
        keys[key_id] = key
        if forget:
            del keys[key_id]
        _write(file, keys)
        return key


def _write(file: Path, keys: dict[str, ApiKey]) -> None:
    content = msgspec.json.encode(_File(1, list(keys.values())))
    replace(file, msgspec.json.format(content, indent=1) + b"\n")


def replace(file: Path, content: bytes) -> None:
    """Write the whole file so that readers see the old or the new one, and only its owner may read it."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Be the only writer. The lock is on a file beside it, as the file itself is replaced."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
