from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from api.access import keyfile
from tests.api.access.conftest import MakeKey, Serve
from tests.api.access.test_rest_access import PUBLIC, bearer
from tests.api.stack import Api, hear_close
from tests.support.waiting import wait_for

ADMITTED = (1013, "catching-up")
"""Nothing is ready behind the access layer here."""


def refusal(api: Api, headers: dict[str, str] | None = None, **options: object) -> Response:
    with pytest.raises(InvalidStatus) as refused, api.connect(additional_headers=headers, **options):
        pass
    return refused.value.response


def kind(response: Response) -> str:
    problem = msgspec.json.decode(response.body or b"")
    assert problem["status"] == response.status_code
    assert response.headers["Content-Type"] == "application/problem+json"
    return str(problem["type"]).rpartition(":")[2]


def test_connection_without_a_good_key_is_refused_before_the_upgrade(serve: Serve, make_key: MakeKey) -> None:
    _, read_only = make_key("read")
    api = serve(**PUBLIC)
    without = refusal(api)
    assert (without.status_code, kind(without)) == (401, "no-key")
    assert without.headers["WWW-Authenticate"] == 'Bearer realm="tickcast"'
    assert refusal(api, bearer("tk_x")).status_code == 401
    denied = refusal(api, bearer(read_only))
    assert (denied.status_code, kind(denied)) == (403, "missing-scope")
    assert 'scope="feed"' in denied.headers["WWW-Authenticate"]


def test_key_with_the_scope_is_let_through_by_either_header(serve: Serve, make_key: MakeKey) -> None:
    _, token = make_key("feed")
    api = serve(**PUBLIC)
    for headers in (bearer(token), {"X-API-Key": token}):
        with api.connect(additional_headers=headers) as client:
            assert hear_close(client) == ADMITTED


def test_browser_sends_its_key_as_a_subprotocol(serve: Serve, make_key: MakeKey) -> None:
    _, token = make_key("feed")
    with serve(**PUBLIC).connect(subprotocols=["tickcast", token]) as client:
        assert client.subprotocol == "tickcast"
        assert hear_close(client) == ADMITTED


def test_connects_count_against_the_same_rate_as_requests(serve: Serve, make_key: MakeKey) -> None:
    _, token = make_key(rate_per_s=1)
    api = serve(**PUBLIC, api_rate_burst_s=2)
    assert api.http.get("/v1/pairs", headers=bearer(token)).headers["ratelimit"].startswith('"key";r=1')
    with api.connect(additional_headers=bearer(token)) as client:
        assert client.response is not None
        assert client.response.headers["RateLimit"].startswith('"key";r=0')
    limited = refusal(api, bearer(token))
    assert (limited.status_code, kind(limited)) == (429, "too-many-requests")
    assert int(limited.headers["Retry-After"]) >= 1


def test_page_of_another_origin_cannot_use_the_loopback(serve: Serve) -> None:
    api = serve()
    own = f"http://127.0.0.1:{api.http.base_url.port}"
    foreign = refusal(api, origin="https://evil.example")
    assert (foreign.status_code, kind(foreign)) == (403, "origin-not-allowed")
    assert refusal(api, origin="null").status_code == 403
    with api.connect(origin=own) as client:
        assert hear_close(client) == ADMITTED
    with serve(api_cors_origins="https://app.example.com").connect(origin="https://app.example.com") as client:
        assert hear_close(client) == ADMITTED


def test_open_connection_ends_with_its_key(serve: Serve, make_key: MakeKey, tmp_path: Path) -> None:
    key_id, token = make_key("feed")
    _, other = make_key("feed")
    api = serve(**PUBLIC)
    api.context.feed.ready = True  # else every connection is closed at once
    with api.connect(additional_headers=bearer(token)) as client, api.connect(additional_headers=bearer(other)) as kept:
        client.recv(timeout=10)
        keyfile.revoke(tmp_path / "access" / "keys.json", key_id, 5)
        wait_for(lambda: len(api.context.hub) == 1)
        assert hear_close(client) == (1008, "key-revoked")
        for _ in range(3):
            kept.recv(timeout=10)


def test_no_log_line_holds_a_key_even_at_debug(
    serve: Serve, make_key: MakeKey, caplog: pytest.LogCaptureFixture
) -> None:
    _, token = make_key()
    secret = token.rpartition("_")[2]
    with caplog.at_level(logging.DEBUG):
        api = serve(**PUBLIC)
        for path in ("/v1/pairs", f"/v1/pairs?key={token}"):
            api.http.get(path, headers=bearer(token))
        with api.connect(additional_headers=bearer(token)) as client:
            hear_close(client)
    ours = [record for record in caplog.records if record.name.partition(".")[0] in ("tickcast", "uvicorn")]
    assert ours
    assert [record for record in ours if secret in record.getMessage()] == []
