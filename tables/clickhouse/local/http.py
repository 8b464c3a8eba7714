"""The ASGI edge of the local store: authorise, bound, run in a thread, answer as ClickHouse does."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from redpanda.errors import BadInputError
from tables.clickhouse.local import codings
from tables.clickhouse.local.engine import Engine, EngineError, Result
from tables.clickhouse.local.guard import refused_word
from tables.clickhouse.local.hello import HELLO, hello_block
from tables.clickhouse.local.request import Call, authorised, read_call
from tables.clickhouse.sql import first_word, split_statements, tokens

__all__ = ["Counters", "StoreApp"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger("tickcast.store")

_CHUNK_BYTES: Final = 1 << 20
_ACCESS_DENIED: Final = 497
_AUTHENTICATION_FAILED: Final = 516
_SYNTAX_ERROR: Final = 62
_BAD_ARGUMENTS: Final = 36
_TOO_LARGE: Final = 307
_HTTP_STATUS: Final = {
    **dict.fromkeys((6, 26, 27, _BAD_ARGUMENTS, 38, 41, 42, 43, 53, _SYNTAX_ERROR, 70, 72, 117, 456, 457), 400),
    **dict.fromkeys((46, 47, 50, 60, 81, 115), 404),
    _ACCESS_DENIED: 403,
    _AUTHENTICATION_FAILED: 403,
    159: 408,
    _TOO_LARGE: 413,
}
_RESULT_WORDS: Final = frozenset(
    {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "KILL", "FROM"}
)


@dataclass
class Counters:
    """What the store has done since it started (counts)."""

    queries: int = 0
    inserts: int = 0
    inserted_rows: int = 0
    errors: int = 0
    refused: int = 0


class StoreApp:
    """Plain ASGI. Supported: `GET /ping`, `GET|POST /` with query, param_*, settings, formats and codings."""

    def __init__(self, engine: Engine, pool: Executor, *, token: str, version: str, body_limit_bytes: int) -> None:
        self.counters = Counters()
        self._engine = engine
        self._pool = pool
        self._token = token
        self._version = version
        self._body_limit = body_limit_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan and WebSocket scopes are switched off in uvicorn."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        if path == "/ping" and method in {"GET", "HEAD"}:
            await _answer(send, 200, b"Ok.\n")
        elif not authorised(headers, self._token):
            self.counters.refused += 1
            await self._fail(
                send,
                EngineError(
                    "wrong or missing token: see endpoint.json in the folder of the store (AUTHENTICATION_FAILED)",
                    _AUTHENTICATION_FAILED,
                ),
            )
        elif path != "/" or method not in {"GET", "POST"}:
            await _answer(send, 404, b"There is only / and /ping.\n")
        else:
            await self._serve(scope, headers, receive, send)

    async def _serve(self, scope: Message, headers: dict[str, str], receive: Receive, send: Send) -> None:
        try:
            body = await _read_body(receive, self._body_limit)
            status, extra, answer = await self._run_while_heard(scope, headers, body, receive)
        except BadInputError as error:
            code = _TOO_LARGE if "larger than" in str(error) else _BAD_ARGUMENTS
            await self._fail(send, EngineError(str(error), code))
        except EngineError as error:
            await self._fail(send, error)
        else:
            await _answer(send, status, answer, extra)

    async def _run_while_heard(
        self, scope: Message, headers: dict[str, str], body: bytes, receive: Receive
    ) -> tuple[int, dict[str, str], bytes]:
        """Run it in a thread; a query whose client goes away is stopped, an insert goes on."""
        tag = uuid.uuid4().hex
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._run, scope, headers, body, tag)
        gone = asyncio.ensure_future(receive())
        try:
            either: set[asyncio.Future[Any]] = {work, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await asyncio.to_thread(self._engine.stop_query, tag)
            return await work
        finally:
            gone.cancel()

    def _run(self, scope: Message, headers: dict[str, str], body: bytes, tag: str) -> tuple[int, dict[str, str], bytes]:
        """Everything that takes processor time, in a thread of the pool."""
        body = codings.decode(body, headers.get("content-encoding", ""), self._body_limit)
        call = read_call(scope["method"], scope["query_string"].decode("latin-1"), headers, body)
        extra = {"X-ClickHouse-Query-Id": call.query_id, "X-ClickHouse-Timezone": "UTC"}
        if call.protocol_version and HELLO.fullmatch(call.sql):
            return (
                200,
                extra,
                self._encode(hello_block(self._version, call.protocol_version), call, headers, extra),
            )
        self._check(call)
        if call.insert:
            result = self._engine.insert(
                call.insert.statement, call.insert.data, call.insert.format, call.database, call.settings
            )
            self.counters.inserts += 1
            self.counters.inserted_rows += result.written_rows
        else:
            settings = {**call.settings, "log_comment": tag}
            result = self._engine.query(call.sql, call.output, call.database, settings, call.params)
            self.counters.queries += 1
            if first_word(call.sql) in _RESULT_WORDS:
                extra["X-ClickHouse-Format"] = _output_format(call)
        extra["X-ClickHouse-Summary"] = _summary(result)
        return 200, extra, self._encode(result.body, call, headers, extra)

    def _check(self, call: Call) -> None:
        word = refused_word(call.sql)
        if word:
            self.counters.refused += 1
            raise EngineError(
                f"the local store runs no statement with {word} in it: pass values as parameters (ACCESS_DENIED)",
                _ACCESS_DENIED,
            )
        if not call.insert and ";" in call.sql and len(split_statements(call.sql)) > 1:
            raise EngineError("one statement a request, as a ClickHouse server has it (SYNTAX_ERROR)", _SYNTAX_ERROR)

    @staticmethod
    def _encode(answer: bytes, call: Call, headers: dict[str, str], extra: dict[str, str]) -> bytes:
        coding = codings.choose(headers.get("accept-encoding", "")) if call.compress and answer else ""
        if coding:
            extra["Content-Encoding"] = coding
        return codings.encode(answer, coding)

    async def _fail(self, send: Send, error: EngineError) -> None:
        self.counters.errors += 1
        log.debug("refused: %s", error)
        text = f"{error} (version {self._version})\n".encode()
        await _answer(send, _HTTP_STATUS.get(error.code, 500), text, {"X-ClickHouse-Exception-Code": str(error.code)})


def _output_format(call: Call) -> str:
    words = [token.text for token in tokens(call.sql) if token.kind == "word"][-2:]
    return words[1] if len(words) == 2 and words[0].upper() == "FORMAT" else call.output  # noqa: PLR2004  (a pair)


def _summary(result: Result) -> str:
    return msgspec.json.encode(
        {
            "read_rows": str(result.read_rows),
            "read_bytes": str(result.read_bytes),
            "written_rows": str(result.written_rows),
            "written_bytes": str(result.written_bytes),
            "result_rows": str(result.rows),
            "result_bytes": str(len(result.body)),
        }
    ).decode()


async def _read_body(receive: Receive, limit: int) -> bytes:
    """Read the whole body; one above the limit is read to its end and dropped, so that the client hears why."""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInputError("the client went away")
        size += len(message.get("body", b""))
        if size <= limit:
            chunks.append(message.get("body", b""))
        else:
            chunks.clear()
        more = message.get("more_body", False)
    if size > limit:
        raise BadInputError(
            f"the request is larger than {limit // 1_000_000} MB: send smaller batches or raise TICKCAST_STORE_BODY_MB"
        )
    return b"".join(chunks)


async def _answer(send: Send, status: int, body: bytes, extra: dict[str, str] | None = None) -> None:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "Content-Length": str(len(body)), **(extra or {})}
    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    for start in range(0, len(body) or 1, _CHUNK_BYTES):
        last = start + _CHUNK_BYTES >= len(body)
        await send({"type": "http.response.body", "body": body[start : start + _CHUNK_BYTES], "more_body": not last})
