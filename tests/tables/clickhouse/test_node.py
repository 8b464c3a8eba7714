"""The unmodified Node client against the store. npm fetches it once, into a cache folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tables.clickhouse.endpoint import resolve
from tables.clickhouse.settings import StoreSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = [pytest.mark.component, pytest.mark.proof]

OLDEST_NODE = 20
SOURCE = Path(__file__).parent / "node"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Install what the lock file names; the packages come out of npm's own cache the second time."""
    node = shutil.which("node") and shutil.which("npm") and subprocess.check_output(["node", "--version"], text=True)
    if not node or int(node.strip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node {OLDEST_NODE} with npm is not installed: the client needs it")
    for file in SOURCE.iterdir():
        shutil.copy(file, tmp_path)
    subprocess.run(
        ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "npm_config_update_notifier": "false"},
    )
    return tmp_path


def seen_by_node(folder: Path, settings: StoreSettings) -> dict[str, Any]:
    found = resolve(settings)
    url = f"{'https' if found.secure else 'http'}://{found.host}:{found.port}"
    done = subprocess.run(
        ["node", "conformance.mjs", url, found.user, found.password, found.database],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_the_node_client_works_as_with_a_server(
    folder: Path, store_client: Client, store_settings: StoreSettings
) -> None:
    assert store_client.ping()
    seen = seen_by_node(folder, store_settings)
    errors = seen.pop("errors")
    assert {name: error["code"] for name, error in errors.items()} == {
        "table": "60",
        "syntax": "62",
        "denied": "497",
        "middle": "395",
    }
    assert errors["table"]["type"] == "UNKNOWN_TABLE"
    assert seen.pop("stranger")["code"] == "516"
    assert seen == {
        "ping": True,
        "rows": [{"a": 1, "b": "it's \\ \n é", "c": [0.1, 1e300]}, {"a": 2, "b": "", "c": []}],
        "count": {"n": 20_000, "s": 200_190_000},
        "streamed": 20_000,
        "params": {"text": "x'; DROP TABLE node -- \\", "many": [1, -2], "at": "2026-01-02 03:04:05.678"},
        "setting": "123",
        "json": [{"one": 1}],
        "csv": '"a","b"\n2,""\n',
        "cancelled": True,
        "alive": 1,
    }
