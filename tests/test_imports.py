"""Imports run one way: app -> {agents, api} -> ml -> tables -> redpanda."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVEL = {"app": 4, "agents": 3, "api": 3, "ml": 2, "tables": 1, "redpanda": 0}


def imported_packages(file: Path) -> set[str]:
    """Top-level names that a file imports anywhere in it; a relative import stays in its own package."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def forbidden(package: str) -> set[str]:
    return {other for other, level in LEVEL.items() if other != package and level >= LEVEL[package]}


@pytest.mark.parametrize("package", LEVEL)
def test_package_imports_only_what_lies_below_it(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in sorted((imported_packages(file) & forbidden(package)) | (imported_packages(file) & {"tests"}))
    ]
    assert wrong == []


def test_a_wrong_import_would_be_found(tmp_path: Path) -> None:
    file = tmp_path / "inner.py"
    file.write_text("def late():\n    from app.stack import Stack\n    import api.server\n")
    assert imported_packages(file) & forbidden("agents") == {"app", "api"}
