from __future__ import annotations

import asyncio
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from api.access import keyfile
from api.access.gate import Visit
from api.access.layer import _Answer
from api.access.uses import last_uses
from tests.api.access.conftest import MakeKey, Serve
from tests.support.waiting import wait_for

DATA = "/v1/forecasts/latest"
ADMITTED = 503
"""Nothing is ready behind the access layer here."""
PUBLIC = {"api_host": "0.0.0.0"}  # noqa: S104  # what a container listens on


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_programs_of_this_machine_need_no_key_on_the_loopback(serve: Serve) -> None:
    api = serve()
    answer = api.get(DATA)
    assert answer.status_code == ADMITTED
    assert "ratelimit" not in answer.headers
    assert api.http.get(DATA, headers=bearer("tk_wrong")).status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_loopback_through_a_proxy_that_nobody_named_is_not_the_loopback(serve: Serve, header: str) -> None:
    answer = serve().http.get(DATA, headers={header: "203.0.113.7"})
    assert answer.status_code == 401
    assert "TICKCAST_API_ANONYMOUS" in answer.json()["detail"]


def test_elsewhere_data_needs_a_key_and_pages_and_health_do_not(serve: Serve, make_key: MakeKey) -> None:
    _, token = make_key()
    api = serve(**PUBLIC)
    refused = api.get(DATA)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="tickcast"'
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:tickcast:problem:no-key"
    assert api.get("/nothing/here").status_code == 401
    for path in ("/schema", "/health/live"):
        assert api.get(path).status_code == 200, path
    for path in ("/", "/page/1/app.js", "/favicon.ico"):
        assert api.get(path).status_code in (200, 404), path
    assert api.http.get(DATA, headers=bearer(token)).status_code == ADMITTED
    assert api.http.get(DATA, headers={"X-API-Key": token}).status_code == ADMITTED


def test_setting_decides_about_callers_without_a_key(serve: Serve) -> None:
    assert serve(**PUBLIC, api_anonymous="always").get(DATA).status_code == ADMITTED
    assert serve(api_anonymous="never").get(DATA).status_code == 401
    behind_a_proxy = serve(api_trusted_proxies="127.0.0.1")
    assert behind_a_proxy.get(DATA).status_code == 401


def test_key_opens_only_its_scopes_and_ends(serve: Serve, make_key: MakeKey, tmp_path: Path) -> None:
    api = serve(**PUBLIC)
    _, feed_only = make_key("feed")
    key_id, token = make_key("read")
    _, expired = make_key("read", expires_ms=1)
    wait_for(lambda: api.http.get(DATA, headers=bearer(token)).status_code == ADMITTED)
    denied = api.http.get(DATA, headers=bearer(feed_only))
    assert denied.status_code == 403
    assert 'error="insufficient_scope", scope="read"' in denied.headers["www-authenticate"]
    assert "expired" in api.http.get(DATA, headers=bearer(expired)).json()["detail"]
    keyfile.revoke(tmp_path / "access" / "keys.json", key_id, 5)
    asked_s = time.monotonic()
    wait_for(lambda: api.http.get(DATA, headers=bearer(token)).status_code == 401)
    assert time.monotonic() - asked_s < 5
    revoked = api.http.get(DATA, headers=bearer(token))
    assert 'error="invalid_token"' in revoked.headers["www-authenticate"]
    assert "revoked" in revoked.json()["detail"]


def test_damaged_keys_file_is_told_as_not_available(serve: Serve, make_key: MakeKey, tmp_path: Path) -> None:
    _, token = make_key()
    (tmp_path / "access" / "keys.json").write_text("{")
    answer = serve(**PUBLIC).http.get(DATA, headers=bearer(token))
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:tickcast:problem:keys-unavailable"
    assert answer.headers["retry-after"] == "5"


def test_key_in_the_address_is_refused(serve: Serve, make_key: MakeKey) -> None:
    _, token = make_key()
    api = serve()
    for query in (f"?key={token}", "?api_key=x", f"?pair=BTC/USD&x={token}"):
        assert api.http.get(f"{DATA}{query}").json()["type"] == "urn:tickcast:problem:key-in-query", query


def test_rate_of_a_key_is_its_own_and_is_told(serve: Serve, make_key: MakeKey) -> None:
    _, slow = make_key(rate_per_s=1)
    _, other = make_key()
    api = serve(**PUBLIC, api_rate_burst_s=3, api_rate_key=50)
    answers = [api.http.get(DATA, headers=bearer(slow)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [ADMITTED] * 3 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=3'
    assert answers[0].headers["ratelimit"] == '"key";r=2;t=1'
    assert answers[3].headers["retry-after"] == "1"
    assert answers[3].json()["type"] == "urn:tickcast:problem:too-many-requests"
    assert api.http.get(DATA, headers=bearer(other)).headers["ratelimit-policy"] == '"key";q=150;w=3'
    assert api.get("/health/live").status_code == 200


def test_guessing_keys_uses_up_the_rate_of_the_address(serve: Serve) -> None:
    api = serve(api_rate_anonymous=1, api_rate_burst_s=2, **PUBLIC)
    wrong = bearer(f"tk_{'0' * 12}_{'0' * 48}")
    assert [api.http.get(DATA, headers=wrong).status_code for _ in range(3)] == [401, 401, 429]
    assert [api.get("/health/live").status_code for _ in range(5)] == [200] * 5


def test_each_client_behind_a_trusted_proxy_has_its_own_rate(serve: Serve) -> None:
    api = serve(api_trusted_proxies="127.0.0.1", api_anonymous="always", api_rate_anonymous=1, api_rate_burst_s=1)

    def ask(client: str) -> int:
        return api.http.get(DATA, headers={"X-Forwarded-For": f"10.9.9.9, {client}"}).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [ADMITTED, 429, ADMITTED]


def test_peer_that_nobody_trusts_cannot_name_another_client(serve: Serve) -> None:
    api = serve(api_anonymous="always", api_rate_anonymous=1, api_rate_burst_s=1)
    headers = [{"X-Forwarded-For": client} for client in ("192.0.2.1", "192.0.2.2")]
    assert [api.http.get(DATA, headers=header).status_code for header in headers] == [ADMITTED, 429]


def test_rebound_name_is_refused(serve: Serve) -> None:
    api = serve()
    answer = api.http.get(DATA, headers={"Host": "evil.example:18000"})
    assert answer.status_code == 421
    assert "TICKCAST_API_ALLOWED_HOSTS" in answer.json()["detail"]
    assert api.http.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert api.http.get("/health/live", headers={"Host": "10.1.2.3"}).status_code == 200
    assert serve(api_allowed_hosts="evil.example").http.get(DATA, headers={"Host": "Evil.example"}).status_code == 503


def test_other_origins_are_told_nothing_unless_listed(serve: Serve) -> None:
    page = {"Origin": "https://app.example.com"}
    assert "access-control-allow-origin" not in serve().http.get(DATA, headers=page).headers
    api = serve(**PUBLIC, api_cors_origins="https://app.example.com")
    listed = api.http.get(DATA, headers=page)
    assert listed.status_code == 401  # a page can read that it needs a key
    assert listed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "Retry-After" in listed.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in listed.headers
    other = api.http.get(DATA, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "origin" in other.headers["vary"].lower()


def test_preflight_of_a_listed_page_needs_no_key(serve: Serve) -> None:
    api = serve(**PUBLIC, api_cors_origins="https://app.example.com")
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    answer = api.http.options(DATA, headers={"Origin": "https://app.example.com"} | asked)
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    refused = api.http.options(DATA, headers={"Origin": "https://evil.example"} | asked)
    assert "access-control-allow-origin" not in refused.headers
    assert api.http.options(DATA).status_code == 401


def test_every_answer_has_a_policy_that_fits_it(serve: Serve) -> None:
    api = serve()
    data = api.get("/health/live").headers
    assert data["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert data["x-content-type-options"] == "nosniff"
    plain = api.get("/schema/asyncapi").headers["content-security-policy"]
    assert "script-src" not in plain
    assert "style-src 'unsafe-inline'" in plain
    for path in ("/", "/schema", "/schema/scalar", "/schema/swagger"):
        own = api.get(path).headers["content-security-policy"]
        assert "script-src 'self'" in own, path
        assert "https:" not in own, path


def test_policy_of_the_app_itself_wins() -> None:
    own = (b"content-security-policy", b"default-src 'none'; script-src 'unsafe-inline'")
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"text/html"), own]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    asyncio.run(_Answer(Visit({}), send).send(start))
    policies = [value for name, value in sent[0]["headers"] if name == own[0]]
    assert policies == [own[1]]
    assert (b"referrer-policy", b"no-referrer") in sent[0]["headers"]


def test_request_id_comes_back_and_names_the_problem(serve: Serve) -> None:
    api = serve()
    for path in (DATA, "/v1/candles", "/nothing"):  # ours, Litestar's, and a missing page
        answer = api.http.get(path, headers={"X-Request-Id": "abc-123"})
        assert answer.headers["x-request-id"] == "abc-123"
        assert answer.json()["instance"] == "urn:tickcast:request:abc-123", path
    made = [api.http.get("/", headers={"X-Request-Id": "a b"}).headers["x-request-id"] for _ in range(2)]
    assert len({*made}) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)


def test_requests_out_of_bounds_are_refused(serve: Serve) -> None:
    api = serve(api_body_max_bytes=10)
    assert api.http.request("GET", DATA, content=b"x" * 11).status_code == 413
    assert api.http.request("GET", DATA, content=b"x" * 10).status_code == ADMITTED
    assert api.http.get(DATA, headers={f"X-{number}": "1" for number in range(70)}).status_code == 431
    assert api.get(DATA, pair="x" * 9_000).status_code == 414


def test_last_use_is_written_down(
    serve: Serve, make_key: MakeKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.access.layer.NOTE_S", 0.2)
    key_id, token = make_key()
    api = serve(**PUBLIC)
    before_ms = time.time() * 1e3
    wait_for(lambda: api.http.get(DATA, headers=bearer(token)).is_server_error and key_id in last_uses(tmp_path))
    assert before_ms - 1_000 < last_uses(tmp_path)[key_id] < time.time() * 1e3 + 1_000


def test_request_of_http_1_0_without_a_host_gets_health_only(serve: Serve) -> None:
    port = int(serve().http.base_url.port or 0)
    answers = []
    for path in (DATA, "/health/live"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answers.append(client.recv(12))
    assert answers == [b"HTTP/1.1 421", b"HTTP/1.1 200"]
