from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pytest

from api.page.assets import STATIC, load
from tests.api.stack import Api

pytestmark = pytest.mark.component


def test_page_allows_scripts_and_styles_of_its_own_only(api: Api) -> None:
    answer = api.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in str(policy)
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=|https?:", answer.text) == []


def test_everything_the_page_and_its_modules_name_is_served_for_a_year(api: Api) -> None:
    named = set(re.findall(r"(/page/[0-9a-f]{16}/[a-z.]+)", api.get("/").text))
    folder = next(iter(named)).rpartition("/")[0]
    for module in STATIC.glob("*.js"):
        named |= {f"{folder}/{name}" for name in re.findall(r"from '\./([a-z.]+)'", module.read_text())}
    assert len(named) == len(list(STATIC.iterdir())) - 1
    for path in named:
        answer = api.get(path)
        assert (answer.status_code, answer.text) == (200, (STATIC / path.rpartition("/")[2]).read_text())
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_unchanged_page_is_not_sent_again(api: Api) -> None:
    first = api.get("/")
    assert first.headers["Cache-Control"] == "no-cache"
    again = api.http.get("/", headers={"If-None-Match": f'"other", W/{first.headers["ETag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert api.http.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_encoding_follows_the_client_and_has_an_etag_of_its_own(api: Api) -> None:
    plain = api.http.get("/", headers={"Accept-Encoding": "br, gzip;q=0"})
    assert "Content-Encoding" not in plain.headers
    zipped = api.http.get("/", headers={"Accept-Encoding": "gzip"})
    assert (zipped.headers["Content-Encoding"], zipped.text) == ("gzip", plain.text)
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    assert zipped.headers["Vary"] == "Accept-Encoding"


def test_file_of_another_version_or_name_is_not_found(api: Api) -> None:
    version = load().version
    for path in (f"/page/{version}/index.html", f"/page/{version}/..%2froutes.py", "/page/0000000000000000/app.js"):
        answer = api.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_version_changes_with_the_content_and_with_nothing_else(tmp_path: Path) -> None:
    copy = shutil.copytree(STATIC, tmp_path / "static")
    assert load(copy) == load()
    (copy / "note.txt").write_text("no part of the page")
    assert load(copy).version == load().version
    (copy / "page.css").write_text("body { color: red }")
    changed = load(copy)
    assert changed.version != load().version
    assert changed.files["page.css"].zipped is None, "too small to gain by it"
    assert gzip.decompress(changed.index.zipped or b"") == changed.index.body
