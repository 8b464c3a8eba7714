from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.access.gate import Visit
from api.access.log import AccessLog, Line, _text
from tests.api.access.conftest import MakeKey, Serve
from tests.api.access.test_rest_access import PUBLIC, bearer
from tests.api.access.test_socket_access import refusal
from tests.support.waiting import wait_for


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler = Lines()
    logger = logging.getLogger("tickcast.access")
    logger.addHandler(handler)
    level, logger.level = logger.level, logging.INFO
    yield handler.texts
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_nothing_is_written_unless_switched_on(serve: Serve, lines: list[str]) -> None:
    serve().get("/health/live")
    assert lines == []


def test_each_request_and_connection_is_one_line_without_its_key(
    serve: Serve, make_key: MakeKey, lines: list[str]
) -> None:
    key_id, token = make_key()
    api = serve(**PUBLIC, api_access_log="json")
    api.http.get("/v1/candles?pair=BTC/USD", headers=bearer(token) | {"X-Request-Id": "one"})
    api.http.get(f"/v1/candles?key={token}", headers={"X-API-Key": token})
    refusal(api)
    with api.connect(additional_headers=bearer(token)):
        pass
    wait_for(lambda: len(lines) == 4)
    assert token.rpartition("_")[2] not in "".join(lines)
    told = [msgspec.json.decode(line, type=Line) for line in lines]
    assert (told[0].request_id, told[0].key_id, told[0].method) == ("one", key_id, "GET")
    assert (told[0].path, told[0].query, told[0].status) == ("/v1/candles", "pair=BTC/USD", 503)
    assert told[0].address == "127.0.0.1"
    assert told[0].sent_bytes > 50
    assert told[0].took_ms > 0
    assert (told[1].query, told[1].status) == ("", 400)
    assert [(line.method, line.status) for line in told[2:]] == [("WS", 401), ("WS", 101)]


@given(st.text(max_size=50), st.text(max_size=50))
def test_client_cannot_break_a_line_of_text(path: str, query: str) -> None:
    line = _text(Line("2018-05-13T00:00:00.000Z", "id", "::1", None, "GET", path, query, 200, 5, 0.5))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert line.startswith("2018-05-13T00:00:00.000Z ::1 - GET ")


def test_text_line_is_readable(lines: list[str]) -> None:
    scope = {"type": "http", "method": "GET", "path": "/v1/pairs", "query_string": b""}
    AccessLog("text", lambda: 1_526_169_600_000).write(scope, Visit({b"x-request-id": b"r1"}), 200, 17, 0.0012)
    assert lines == ['2018-05-12T23:59:59.999Z unknown - GET "/v1/pairs" 200 17 B 1.2 ms r1']
