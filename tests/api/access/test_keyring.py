from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.access import keyfile
from api.access.keyring import Keyring
from api.access.keys import SCOPES, ApiKey, new_key
from api.access.uses import last_uses, note_uses
from redpanda.errors import BadInputError, ConfigError


class Clock:
    now_s = 0.0
    now_ms = 1_000

    def ring(self, file: Path) -> Keyring:
        return Keyring(file, lambda: self.now_s, lambda: self.now_ms)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access" / "keys.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_only_the_owner_may_read_the_file_and_no_secret_is_in_it(file: Path) -> None:
    key, token = new_key(0, SCOPES, label="desk")
    keyfile.add(file, key)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert token.rpartition("_")[2] not in file.read_text()
    assert keyfile.read(file) == {key.id: key}
    assert {path.name for path in file.parent.iterdir()} == {"keys.json", ".keys.json.lock"}


def test_writers_at_the_same_time_lose_no_key(file: Path) -> None:
    keys = [new_key(0, SCOPES)[0] for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: keyfile.add(file, key), keys))
    assert set(keyfile.read(file)) == {key.id for key in keys}


def test_running_api_sees_a_new_key_and_its_end_within_a_second(file: Path, clock: Clock) -> None:
    ring = clock.ring(file)
    key, token = new_key(0, SCOPES)
    assert ring.check(token) == "unknown"
    keyfile.add(file, key)
    assert ring.check(token) == "unknown"
    clock.now_s += 1.0
    assert ring.check(token) == key
    assert ring.used_ms == {key.id: 1_000}
    keyfile.revoke(file, key.id, 1_500)
    clock.now_s += 1.0
    assert ring.check(token) == ring.state(key.id) == "revoked"
    keyfile.revoke(file, key.id, 2_000, forget=True)
    clock.now_s += 1.0
    assert ring.check(token) == "unknown"
    assert ring.state(key.id) == "revoked"


def test_key_ends_by_the_clock_without_a_change_of_the_file(file: Path, clock: Clock) -> None:
    key, token = new_key(0, SCOPES, expires_ms=2_000)
    keyfile.add(file, key)
    ring = clock.ring(file)
    assert ring.check(token) == key
    clock.now_ms = 2_000
    assert ring.check(token) == ring.state(key.id) == "expired"


def test_known_id_with_a_wrong_secret_is_as_unknown_as_any(file: Path, clock: Clock) -> None:
    key, token = new_key(0, SCOPES)
    keyfile.add(file, key)
    ring = clock.ring(file)
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert ring.check(wrong) == "unknown"
    assert ring.check("tk_nonsense") == "malformed"
    assert ring.used_ms == {}


def test_damaged_file_lets_nobody_in_until_it_is_mended(
    file: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    key, token = new_key(0, SCOPES)
    keyfile.add(file, key)
    ring = clock.ring(file)
    assert ring.check(token) == key
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    for _ in range(3):
        clock.now_s += 1.0
        assert ring.check(token) == "unknown"
    assert "bring it back from a copy" in ring.trouble
    assert len(caplog.records) == 1
    file.write_bytes(content)
    clock.now_s += 1.0
    assert ring.check(token) == key
    assert not ring.trouble


def test_file_that_is_gone_takes_all_keys_along(file: Path, clock: Clock) -> None:
    key, token = new_key(0, SCOPES)
    keyfile.add(file, key)
    ring = clock.ring(file)
    assert ring.check(token) == key
    file.unlink()
    clock.now_s += 1.0
    assert ring.check(token) == "unknown"


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"version": 2, "keys": []}', '{"version": 1, "keys": [], "more": 1}', '{"version": 1, "keys": [{}]}'],
)
def test_file_of_another_form_is_refused_by_name(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(BadInputError, match=r"keys\.json"):
        keyfile.read(file)


def test_scope_that_this_version_does_not_know_is_no_key_of_ours(file: Path) -> None:
    key, _ = new_key(0, ("read", "admin"))
    keyfile.add(file, key)
    with pytest.raises(BadInputError, match="newer"):
        keyfile.read(file)


def test_key_that_is_not_there_cannot_be_revoked(file: Path) -> None:
    with pytest.raises(ConfigError, match="tickcast keys list"):
        keyfile.revoke(file, "0" * 12, 0)


def test_second_end_does_not_move_the_first(file: Path) -> None:
    key: ApiKey = new_key(0, SCOPES)[0]
    keyfile.add(file, key)
    keyfile.revoke(file, key.id, 5)
    assert keyfile.revoke(file, key.id, 9).revoked_ms == 5


def test_last_use_of_several_processes_is_the_latest(tmp_path: Path) -> None:
    assert last_uses(tmp_path) == {}
    note_uses(tmp_path, {"a": 5, "b": 7})
    note_uses(tmp_path, {"a": 9, "b": 3})
    assert last_uses(tmp_path) == {"a": 9, "b": 7}
    (tmp_path / "access" / "used.json").write_bytes(os.urandom(20))
    assert last_uses(tmp_path) == {}
