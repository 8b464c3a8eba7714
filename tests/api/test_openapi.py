"""The OpenAPI document and its pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from api.examples import BODIES, CSV_BODIES
from tests.api.stack import Api

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/schema/openapi.json").json()
    return found


def test_document_lists_every_route_and_its_references_resolve(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    routes = {
        "/v1/forecasts/latest",
        "/v1/forecasts",
        "/v1/candles",
        "/v1/pairs",
        "/v1/forecasts/{id}",
        "/v1/features",
        "/v1/errors",
        "/v1/accuracy",
        "/v1/quality",
        "/v1/models",
        "/v1/models/{horizon_s}/report",
        "/v1",
        "/health/live",
        "/health/ready",
    }
    assert set(document["paths"]) == routes
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all("200" in operation["responses"] for operation in operations)
    for reference in _references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    errors = document["paths"]["/v1/candles"]["get"]["responses"]
    access = {"401", "403", "413", "414", "421", "429", "431"}
    assert set(errors) == access | {"200", "304", "400", "404", "406", "500", "503"}
    assert "application/problem+json" in errors["400"]["content"]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_documentation_page_needs_no_script(api: Api) -> None:
    page = api.get("/schema").text
    assert "/v1/forecasts/latest" in page
    assert "<script" not in page
    for path in ("/schema/scalar", "/schema/swagger"):
        assert api.get(path).status_code == 200


@pytest.mark.parametrize("path", sorted(BODIES))
def test_examples_of_bodies_are_what_their_schemas_say(document: dict[str, Any], path: str) -> None:
    responses = document["paths"][path]["get"]["responses"]
    for status, kind in (("200", "application/json"), ("400", "application/problem+json")):
        content = responses[status]["content"][kind]
        (example,) = content["examples"].values()
        schema = {**content["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(example["value"])


def test_every_parameter_is_explained_and_its_examples_are_valid(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for parameter in item["get"].get("parameters", []):
            assert parameter["description"], (path, parameter["name"])
            for example in parameter.get("examples", {}).values():
                Draft202012Validator(parameter["schema"]).validate(example["value"])


@pytest.mark.parametrize("path", sorted(CSV_BODIES))
def test_history_documents_its_formats_headers_and_the_largest_page(document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["get"]
    found = operation["responses"]["200"]
    assert set(found["content"]) == {"application/json", "text/csv", "application/vnd.apache.arrow.stream"}
    assert {"Link", "X-Next-Cursor", "ETag", "Cache-Control"} <= set(found["headers"])
    (limit,) = (one for one in operation["parameters"] if one["name"] == "limit")
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 1_000)
    assert {"304", "406"} <= set(operation["responses"])


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for status, response in item["get"]["responses"].items():
            if status >= "400" and path.startswith("/v1"):
                assert set(response["content"]) == {"application/problem+json"}, (path, status)


@pytest.mark.parametrize("page", ["/schema", "/schema/scalar", "/schema/swagger"])
def test_documentation_loads_nothing_from_elsewhere(api: Api, page: str) -> None:
    answer = api.get(page)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    for target in re.findall(r"(?:src|href)='?([^'># ]+)", answer.text):
        if not target.startswith("data:"):
            assert target.startswith("/schema"), target
            assert api.get(target).status_code == 200, target


def test_assets_are_sent_compressed_and_are_not_sent_again(api: Api) -> None:
    packed = api.http.get("/schema/assets/swagger.css")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "immutable" in packed.headers["Cache-Control"]
    plain = api.http.get("/schema/assets/swagger.css", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.text == packed.text
    again = api.http.get("/schema/assets/swagger.css", headers={"If-None-Match": packed.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/schema/nope", "/schema/assets/nope.js", "/schema/assets/%2e%2e%2fapplication.py"])
def test_page_that_does_not_exist_is_a_problem(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
