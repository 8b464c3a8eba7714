"""The settings reference is generated and current."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from docs.generate_settings import CLASSES, PAGE, load, render, variable

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "agents", "api", "ml", "tables", "redpanda")


def settings_classes() -> set[str]:
    """Find every class whose parent is BaseSettings or one of its children, by reading the sources."""
    parents: dict[str, tuple[str, set[str]]] = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    parents[node.name] = (module, {base.id for base in node.bases if isinstance(base, ast.Name)})
    found = {"BaseSettings"}
    while grown := {name for name, (_, bases) in parents.items() if bases & found} - found:
        found |= grown
    return {f"{parents[name][0]}:{name}" for name in found if name in parents}


def test_page_is_what_the_generator_writes() -> None:
    assert PAGE.read_text() == render(), "run python docs/generate_settings.py"


def test_every_settings_class_is_in_the_reference() -> None:
    assert set(CLASSES) == settings_classes()


def test_every_field_of_every_class_is_on_the_page() -> None:
    text = PAGE.read_text()
    names = {variable(cls, name, one) for cls in map(load, CLASSES) for name, one in cls.model_fields.items()}
    assert {name for name in names if f"| `{name}` |" not in text} == set()


def test_check_runs_as_a_script_and_ignores_the_environment() -> None:
    environment = {**os.environ, "TICKCAST_PARTITIONS": "9", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "docs/generate_settings.py", "--check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
