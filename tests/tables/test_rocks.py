"""Folders of RocksDB, cut and broken: what opens is what was there at some moment, or it says that it is damaged."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tables import rocks
from tests.support.waiting import wait_for

SPAWN = multiprocessing.get_context("spawn")
KEYS = 40
WRITES = 4_000


def state_after(writes: int) -> dict[bytes, bytes]:
    """Rows after so many writes: write `n` puts `n` into key `n % KEYS`, and every seventh deletes instead."""
    rows: dict[bytes, bytes] = {}
    for number in range(max(0, writes - 7 * KEYS), writes):
        key, value = change(number)
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value
    return rows


def change(number: int) -> tuple[bytes, bytes | None]:
    value = random.Random(number).randbytes(400) if number % 7 else None
    return b"key-%d" % (number % KEYS), value


def fill(path: Path) -> None:
    """Write files at several levels and a log, and end without closing anything."""
    db = rocks.open_folder(path)
    for number in range(WRITES):
        key, value = change(number)
        rocks.write(db, {key: value}, number)
        if number % 900 == 899:
            db.flush()
    busy = ("rocksdb.num-running-compactions", "rocksdb.compaction-pending", "rocksdb.num-running-flushes")
    wait_for(lambda: not any(db.property_int_value(name) for name in busy))
    os._exit(0)


def hold(path: Path, opened: Event, enough: Event) -> None:
    """Keep a folder open."""
    db = rocks.open_folder(path)
    opened.set()
    enough.wait(60)
    db.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rocks") / "table-0.db"
    writer = SPAWN.Process(target=fill, args=(path,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == 0
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "table-0.db"))


def read(path: Path) -> tuple[dict[bytes, bytes], int | None, str]:
    db, wrong = rocks.open_or_wipe(path)
    try:
        return dict(rocks.rows(db)), rocks.offset_of(db), wrong
    finally:
        db.close()


def test_killed_writer_leaves_all_that_it_wrote(copy: Path) -> None:
    assert read(copy) == (state_after(WRITES), WRITES - 1, "")


def test_fresh_folder_is_empty_and_well(tmp_path: Path) -> None:
    assert read(tmp_path / "deep" / "table-3.db") == ({}, None, "")


def test_any_file_cut_anywhere_is_told_or_gives_an_older_state(whole: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    files = [file.name for file in whole.iterdir() if file.name not in ("LOCK", "LOG", "IDENTITY")]
    seen = {"older": 0, "told": 0}
    for turn in range(60):
        path = tmp_path / f"table-{turn}.db"
        shutil.copytree(whole, path)
        file = path / (files[turn] if turn < len(files) else chance.choice(files))
        length = chance.randrange(file.stat().st_size + 1)
        os.truncate(file, length)
        rows, offset, wrong = read(path)
        what = (file.name, length, wrong)
        if wrong:
            assert (rows, offset) == ({}, None), what
        else:
            assert offset is not None, what
            assert rows == state_after(offset + 1), what
        seen["told" if wrong else "older"] += 1
        shutil.rmtree(path)
    assert min(seen.values()) > 5, seen


def test_manifest_cut_between_its_entries_is_told(copy: Path) -> None:
    manifest = next(copy.glob("MANIFEST-*"))
    told = set()
    for length in range(manifest.stat().st_size, 0, -1):
        os.truncate(manifest, length)
        told.add(rocks.damage(copy)[:40])
    assert any("is not named by the MANIFEST" in text for text in told), told


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_missing_file_is_told(copy: Path, name: str) -> None:
    next(copy.glob(name)).unlink()
    rows, offset, wrong = read(copy)
    assert (rows, offset) == ({}, None)
    assert wrong


def test_broken_block_raises_instead_of_hiding_rows(copy: Path) -> None:
    largest = max(copy.glob("*.sst"), key=lambda file: file.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 3)
        file.write(bytes(64))
    db, wrong = rocks.open_or_wipe(copy)
    assert wrong == ""
    with pytest.raises(Exception, match="Corruption") as caught:
        dict(rocks.rows(db))
    assert rocks.is_damage(caught.value)
    error = rocks.mark_damaged(copy, caught.value)
    assert "start the worker again" in str(error)
    assert error.retriable
    del caught
    db.close()
    assert read(copy)[:2] == ({}, None)
    assert read(copy)[2] == ""


def test_full_disk_is_no_damage() -> None:
    assert not rocks.is_damage(Exception("IO error: No space left on device: While appending to file"))


def test_folder_of_another_process_is_left_alone(copy: Path) -> None:
    opened, enough = SPAWN.Event(), SPAWN.Event()
    other = SPAWN.Process(target=hold, args=(copy, opened, enough))
    other.start()
    try:
        assert opened.wait(60)
        with pytest.raises(OSError, match="lock"):
            rocks.open_or_wipe(copy)
        reader = rocks.open_folder(copy, read_only=True)
        assert dict(rocks.rows(reader)) == state_after(WRITES)
        reader.close()
    finally:
        enough.set()
        other.join(60)
    assert read(copy)[2] == ""


def test_folders_are_listed_by_table_and_partition(tmp_path: Path) -> None:
    for name in ("candle-state-10.db", "candle-state-2.db", "feature-state-0.db", "candle-state-backups"):
        (tmp_path / name).mkdir()
    found = [(one.table, one.partition) for one in rocks.folders(tmp_path)]
    assert found == [("candle-state", 2), ("candle-state", 10), ("feature-state", 0)]
