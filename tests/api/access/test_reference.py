from __future__ import annotations

from tests.api.access.conftest import Serve


def test_document_names_keys_and_refusals_of_every_operation_with_data(serve: Serve) -> None:
    document = serve().get("/schema/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    guarded = {path: item["get"] for path, item in document["paths"].items() if path.startswith("/v1/")}
    assert "/v1/pairs" in guarded
    for path, operation in guarded.items():
        assert {"401", "403", "429"} <= set(operation["responses"]), path
        assert operation["security"] == [{"bearer": []}, {"header": []}, {}], path
        problem = operation["responses"]["429"]["content"]["application/problem+json"]["schema"]["$ref"]
        assert problem == "#/components/schemas/Problem"
    health = document["paths"]["/health/live"]["get"]
    assert "401" not in health["responses"]
    assert "security" not in health


def test_what_an_operation_says_itself_stays(serve: Serve) -> None:
    document = serve().get("/schema/openapi.json").json()
    assert "503" in document["paths"]["/v1/pairs"]["get"]["responses"]
    assert "200" in document["paths"]["/v1/pairs"]["get"]["responses"]
