"""What the documents name exists: files, variables, targets, routes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate_settings import CLASSES, load, variable

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "k8s" / "README.md", ROOT / "redpanda" / "README.md"]
)
MADE_BY_A_RUN = {ROOT / "docs" / "board.svg"}
NOT_SETTINGS = {"TICKCAST_SHARED_DATA"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = {(page.parent / target).resolve() for target in targets if "://" not in target}
    assert [str(target) for target in local - MADE_BY_A_RUN if not target.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_variables_exist(page: Path) -> None:
    known = {variable(cls, field, one) for cls in map(load, CLASSES) for field, one in cls.model_fields.items()}
    assert set(re.findall(r"TICKCAST_[A-Z][A-Z0-9_]*[A-Z0-9]", page.read_text())) - known - NOT_SETTINGS == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for part in re.findall(r"`make ([^`]*)`|^make (.*)$", page.read_text(), re.MULTILINE)
        for word in re.findall(r"^[a-z0-9-]+", "".join(part))
    }
    assert named - targets == set()


def test_readme_names_routes_that_are_served() -> None:
    served = "".join(file.read_text() for file in sorted((ROOT / "api").rglob("*.py")))
    named = set(re.findall(r"127\.0\.0\.1:18000(/(?:v1|health)/[a-z/]+)", (ROOT / "README.md").read_text()))
    assert named
    assert {route for route in named if f'"{route}"' not in served} == set()


def test_index_lists_every_decision() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    files = sorted(file.name for file in (ROOT / "docs" / "adr").glob("0*.md"))
    assert [file for file in files if f"]({file})" not in index] == []
    assert [int(file[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = (ROOT / "docs" / "adr" / file).read_text()
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "What would change our mind"], file
