"""The house rules that a newcomer meets first."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "agents", "api", "ml", "tables", "redpanda")
FILE_CAP = 350
FUNCTION_CAP = 60


def sources(*packages: str) -> list[Path]:
    return [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]


def test_files_stay_readable_in_one_sitting() -> None:
    long = {
        str(f.relative_to(ROOT)): n
        for f in sources(*PACKAGES, "tests")
        if (n := len(f.read_text().splitlines())) > FILE_CAP
    }
    assert long == {}


def test_functions_stay_readable_on_one_screen() -> None:
    long = {}
    for file in sources(*PACKAGES):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_CAP:
                    long[f"{file.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}
