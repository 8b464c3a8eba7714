"""The RocksDB folders of the tables: one a table and partition, opened the same way by the worker and the command line.

RocksDB finds cut files when it opens a folder, all but one kind: a MANIFEST that lost its last entries opens as an
older state, with newer writes of the log on top and a hole between. Finished tables that it does not name betray it.
"""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import rocksdict

from redpanda.errors import TickcastError

__all__ = [
    "NO_ROW",
    "OFFSET_KEY",
    "DamagedStateError",
    "Folder",
    "damage",
    "folders",
    "is_damage",
    "mark_damaged",
    "offset_of",
    "open_folder",
    "open_or_wipe",
    "reading",
    "rows",
    "wipe",
    "write",
]

OFFSET_KEY: Final = b"__faust\0offset__"
"""Faust's key for the changelog offset up to which a folder is filled."""
NO_ROW: Final = b"__tickcast\0"
"""How the keys begin under which tickcast keeps what is no row."""
_DAMAGED: Final = "DAMAGED"
_NAME: Final = re.compile(r"(?P<table>.+)-(?P<partition>\d+)\.db")
# For every partition; Faust's defaults would take a cache of 2 GiB for each.
_WRITE_BUFFER_BYTES: Final = 4 << 20
_CACHE_BYTES: Final = 8 << 20
_OPEN_FILES: Final = 64
_OPEN_TRIES: Final = 3
_BLOOM_BITS: Final = 10
_FOOTER: Final = (0x88E241B785F4CFF7).to_bytes(8, "little")
"""Last bytes of a table file that was written to its end."""


class DamagedStateError(TickcastError):
    """A RocksDB folder that cannot be read: the next start wipes it and fills it from its changelog."""

    retriable: ClassVar[bool] = True


class Folder(NamedTuple):
    """One partition of one table on this disk."""

    table: str
    partition: int
    path: Path


def folders(tabledir: Path) -> list[Folder]:
    """Give the folders below Faust's table folder, in order; none where nothing was kept yet."""
    return sorted(
        Folder(match["table"], int(match["partition"]), path)
        for path in tabledir.glob("*.db")
        if path.is_dir() and (match := _NAME.fullmatch(path.name))
    )


def open_folder(path: Path, *, read_only: bool = False) -> Any:
    """Open a folder; read-only works beside a running worker, on what it had written at this moment."""
    access = rocksdict.AccessType.read_only() if read_only else rocksdict.AccessType.read_write()
    return rocksdict.Rdict(str(path), options=_options(), access_type=access)


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """Open a folder read-only for the block; a worker may be writing to it.

    Raises
    ------
    DamagedStateError
        RocksDB finds it broken, now or while the block reads.

    """
    try:
        db = _opened_to_read(path)
        try:
            yield db
        finally:
            db.close()
    except Exception as error:
        if not is_damage(error):
            raise
        raise DamagedStateError(
            f"the RocksDB folder {path} is damaged ({_one_line(error)}): the next start of its worker fills it again"
        ) from error


def _opened_to_read(path: Path) -> Any:
    """Try again where files have gone while they were being opened: a running worker compacts."""
    for _ in range(_OPEN_TRIES - 1):
        try:
            return open_folder(path, read_only=True)
        except Exception as error:
            if not is_damage(error):
                raise
    return open_folder(path, read_only=True)


def _options() -> Any:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(_OPEN_FILES)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_bloom_filter(_BLOOM_BITS, block_based=False)
    blocks.set_block_cache(rocksdict.Cache(_CACHE_BYTES))
    options.set_block_based_table_factory(blocks)
    return options


def open_or_wipe(path: Path) -> tuple[Any, str]:
    """Open a folder for writing, empty where it was damaged; give what was wrong with it ("" for nothing).

    Raises
    ------
    OSError
        Another process has it open.
    """
    what = damage(path) if path.exists() else ""
    if what:
        wipe(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return open_folder(path), what


def damage(path: Path) -> str:
    """Say in one line what is wrong with a folder that nobody has open; "" for nothing.

    Blocks that were changed in place show only when they are read: see `mark_damaged`. A worker that was killed in the
    moment between a table and its entry in the MANIFEST leaves what looks like damage: the folder is then filled again.
    """
    _require_unlocked(path)
    if (path / _DAMAGED).exists():
        return (path / _DAMAGED).read_text()
    if not (path / "CURRENT").exists():
        return "CURRENT is missing" if any(path.glob("MANIFEST-*")) or any(path.glob("*.sst")) else ""
    try:
        db = open_folder(path, read_only=True)
    except Exception as error:
        if not is_damage(error):
            raise
        return _one_line(error)
    named = {str(file["name"]).lstrip("/") for file in db.live_files()}
    db.close()
    newest = max((int(name.removesuffix(".sst")) for name in named), default=-1)
    # A worker that was killed in a flush or a compaction leaves an unfinished one.
    for file in sorted(path.glob("*.sst")):
        if file.name not in named and int(file.stem) > newest and _is_finished(file):
            return f"{file.name} is not named by the MANIFEST"
    return ""


def _is_finished(table: Path) -> bool:
    with table.open("rb") as file:
        file.seek(max(0, table.stat().st_size - len(_FOOTER)))
        return file.read() == _FOOTER


def _require_unlocked(path: Path) -> None:
    if not (path / "LOCK").exists():
        return
    with (path / "LOCK").open("r+b") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OSError(f"lock held by another process: {path / 'LOCK'}") from error


def is_damage(error: BaseException) -> bool:
    """Tell whether an error of RocksDB means that the files are broken, and not for example that the disk is full."""
    text = str(error)
    return text.startswith("Corruption") or (text.startswith("IO error") and "No such file" in text)


def mark_damaged(path: Path, error: BaseException) -> DamagedStateError:
    """Let the next start wipe the folder; give the error to raise now."""
    (path / _DAMAGED).write_text(_one_line(error))
    return DamagedStateError(
        f"the RocksDB folder {path} is damaged ({_one_line(error)}): start the worker again, it then fills the "
        "folder from its changelog"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def wipe(path: Path) -> None:
    """Delete a folder that nobody has open; a missing one is fine."""
    if path.exists():
        shutil.rmtree(path)


def offset_of(db: Any) -> int | None:
    """Give the changelog offset of the last record that is in an open folder; None for an empty one."""
    value = db.get(OFFSET_KEY)
    return None if value is None else int(value)


def rows(db: Any) -> Iterator[tuple[bytes, bytes]]:
    """Yield all rows by key. RocksDB's own iterators end at a broken block without a word; this one raises."""
    walk = db.iter()
    walk.seek_to_first()
    while walk.valid():
        key = walk.key()
        if key != OFFSET_KEY and not key.startswith(NO_ROW):
            yield key, walk.value()
        walk.next()
    walk.status()


def write(db: Any, changes: Mapping[bytes, bytes | None], offset: int | None) -> None:
    """Put rows (None deletes one) and the changelog offset that they reach, all or nothing."""
    batch = rocksdict.WriteBatch(raw_mode=True)
    put = batch.put
    for key, value in changes.items():
        if value is None:
            batch.delete(key)
        else:
            put(key, value)
    if offset is not None:
        put(OFFSET_KEY, str(offset).encode())
    db.write(batch)
