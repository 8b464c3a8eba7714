"""docs/api.md names the routes, parameters and kinds of errors that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from api import problems
from api.application import create_app
from api.context import ApiContext
from api.formats import FORMATS
from api.settings import ApiSettings
from api.store import Store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()


@pytest.fixture(scope="module")
def paths() -> dict[str, Any]:
    def never() -> Any:
        raise AssertionError("a document needs no store")

    app = create_app(ApiContext(ApiSettings(), "127.0.0.1:1", Store(never)))
    found: dict[str, Any] = app.openapi_schema.to_schema()["paths"]
    return found


def test_the_table_lists_every_route(paths: dict[str, Any]) -> None:
    listed = {
        path for row in re.findall(r"^\| (`/.*?) \|", PAGE, re.MULTILINE) for path in re.findall(r"`([^`]+)`", row)
    }
    assert listed == set(paths)


def test_examples_ask_what_can_be_asked(paths: dict[str, Any]) -> None:
    urls = re.findall(r"curl .*'(http://127\.0\.0\.1:18000[^']+)'", PAGE)
    assert len(urls) >= 5
    for url in urls:
        parts = urlsplit(url)
        parameters = {one["name"]: one["schema"] for one in paths[parts.path]["get"]["parameters"]}
        for name, value in parse_qsl(parts.query):
            assert name in parameters, url
            assert value in parameters[name].get("enum", [value]), url


def test_formats_and_kinds_of_errors_exist() -> None:
    for accept in re.findall(r"Accept: ([^']+)'", PAGE):
        assert accept in FORMATS
    source = Path(problems.__file__).read_text()
    kinds = re.findall(r"^\| \d{3} \| (.+?) \|", PAGE, re.MULTILINE)
    named = {kind for cell in kinds for kind in re.findall(r"`([^`]+)`", cell)}
    built_in = {"not-found", "method-not-allowed"}  # of Litestar, by their HTTP phrase
    assert named - built_in == set(re.findall(r'\{TYPE\}([a-z-]+)"', source)) | {"bad-parameter"}
