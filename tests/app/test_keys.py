from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.access.keyring import Keyring
from api.access.keys import ApiKey
from api.access.uses import note_uses
from tests.app.test_cli import one_line_error, tickcast


def test_key_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    made = tickcast("keys", "create", "--label", "desk", "--scope", "read", "--expires", "90d", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()  # alone on stdout: a script can take it
    secret = token.rpartition("_")[2]
    file = tmp_path / ".tickcast" / "access" / "keys.json"
    key = Keyring(file, lambda: 0.0, lambda: 0).check(token)
    assert isinstance(key, ApiKey)
    assert key.scopes == ("read",)
    assert key.expires_ms == key.created_ms + 90 * 86_400_000
    assert f"tickcast keys revoke {key.id}" in made.stderr

    note_uses(tmp_path / ".tickcast", {key.id: 1_526_169_600_000})
    listed = tickcast("keys", "list", cwd=tmp_path)
    assert all(text in listed.stdout for text in (key.id, "active", "desk", "2018-05-13 00:00"))
    assert secret not in listed.stdout + made.stderr

    revoked = tickcast("keys", "revoke", token, cwd=tmp_path)
    assert revoked.stdout == f"key {key.id} (desk) is revoked\n"
    assert Keyring(file, lambda: 0.0, lambda: 0).check(token) == "revoked"
    rows = json.loads(tickcast("keys", "list", "--json", cwd=tmp_path).stdout)
    assert [(row["id"], row["state"]) for row in rows] == [(key.id, "revoked")]
    tickcast("keys", "revoke", key.id, "--forget", cwd=tmp_path)
    assert "tickcast keys create" in tickcast("keys", "list", cwd=tmp_path).stdout


def test_key_as_json_has_its_token_and_home_says_where_it_goes(tmp_path: Path) -> None:
    made = tickcast("keys", "create", "--json", "--rate", "7", "--home", "other", cwd=tmp_path)
    row = json.loads(made.stdout)
    assert row["token"].startswith(f"tk_{row['id']}_")
    assert row["scopes"] == ["read", "feed"]
    assert row["rate_per_s"] == 7
    assert row["id"] in (tmp_path / "other" / "access" / "keys.json").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("create", "--scope", "write"), "none of read, feed"),
        (("create", "--expires", "soon"), "write 90s, 15m, 12h, 3d, 2w"),
        (("create", "--expires", "0"), "leave it out"),
        (("create", "--label", "a\nb"), "one line"),
        (("revoke", "0" * 12), "`tickcast keys list` shows them"),
    ],
)
def test_fault_is_one_line_that_says_what_to_do(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    assert told in one_line_error(tickcast("keys", *words, cwd=tmp_path))


def test_damaged_file_is_told_and_kept(tmp_path: Path) -> None:
    file = tmp_path / ".tickcast" / "access" / "keys.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    assert "bring it back from a copy" in one_line_error(tickcast("keys", "create", cwd=tmp_path))
    assert file.read_text() == "{"


@pytest.mark.parametrize("word", ["create", "list", "revoke"])
def test_help_shows_examples(word: str, tmp_path: Path) -> None:
    assert f"Examples:\n    tickcast keys {word}" in tickcast("keys", word, "--help", cwd=tmp_path).stdout
