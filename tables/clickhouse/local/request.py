"""One HTTP request of ClickHouse's protocol, read into what the engine needs."""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from redpanda.errors import BadInputError
from tables.clickhouse.sql import InsertHead, insert_head

__all__ = ["Call", "Insert", "authorised", "read_call"]

# They steer a transport that this store does not have: sessions, progress headers, roles, server-side buffers.
_TRANSPORT: Final = frozenset(
    {
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "password",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "user",
        "wait_end_of_query",
    }
)
_HEAD_BYTES: Final = 65_536


class Insert(NamedTuple):
    """An INSERT statement and its rows."""

    statement: str
    format: str
    data: bytes


class Call(msgspec.Struct, frozen=True):
    """A statement with everything around it."""

    sql: str
    insert: Insert | None
    output: str
    database: str
    query_id: str
    params: dict[str, str]
    settings: dict[str, str]
    protocol_version: int
    compress: bool


def authorised(headers: Mapping[str, str], token: str) -> bool:
    """Compare the token of `X-ClickHouse-Key` or of Basic auth (as its password) in constant time."""
    given = headers.get("x-clickhouse-key", "")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if not given and scheme.lower() == "basic":
        try:
            given = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    return hmac.compare_digest(given.encode(), token.encode())


def read_call(method: str, query_string: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Sort URL, headers and body into one call.

    Raises
    ------
    BadInputError
        The request is not of the documented subset.
    """
    fields = dict(parse_qsl(query_string, keep_blank_values=True, max_num_fields=2000))
    kind = headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        fields |= _multipart(kind, body)
        body = b""
    elif kind.startswith("application/x-www-form-urlencoded") and "query" not in fields and body[:6] == b"query=":
        fields |= dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=2000))
        body = b""
    for unsupported in ("compress", "decompress", "external"):
        if fields.pop(unsupported, "0") not in {"0", ""}:
            raise BadInputError(f"{unsupported}=1 is not spoken here: use HTTP Content-Encoding instead")
    sql, insert = _statement(fields.pop("query", ""), body)
    output = fields.pop("default_format", headers.get("x-clickhouse-format", "TabSeparated"))
    database = fields.pop("database", headers.get("x-clickhouse-database", ""))
    query_id = fields.pop("query_id", "") or str(uuid.uuid4())
    version = fields.get("client_protocol_version", "")
    settings = {
        name: value for name, value in fields.items() if name not in _TRANSPORT and not name.startswith("param_")
    }
    if method == "GET":
        settings["readonly"] = "2"  # as the real server does: a link must not change anything
    return Call(
        sql=sql,
        insert=insert,
        output=output,
        database=database,
        query_id=query_id,
        params={name.removeprefix("param_"): value for name, value in fields.items() if name.startswith("param_")},
        settings=settings,
        protocol_version=int(version) if version.isdigit() else 0,
        compress=fields.get("enable_http_compression", "1") != "0",
    )


def _statement(query: str, body: bytes) -> tuple[str, Insert | None]:
    """Join the `query` field and the body; both orders of clickhouse-connect and of the JS client are in use."""
    if query:
        head = insert_head(query)
        if head is not None:
            inline = query[head.data_start :].encode()
            return head.statement, Insert(head.statement, head.format, inline + body)
        return (f"{query}\n{_text(body)}" if body else query), None
    start = body[:_HEAD_BYTES].decode(errors="surrogateescape")
    head = insert_head(start) if start.lstrip()[:6].upper() == "INSERT" else None
    if head is None:
        return _text(body), None
    return head.statement, Insert(head.statement, head.format, body[_byte_offset(start, head) :])


def _byte_offset(text: str, head: InsertHead) -> int:
    return len(text[: head.data_start].encode(errors="surrogateescape"))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"the statement is not UTF-8: {error}") from error


def _multipart(kind: str, body: bytes) -> dict[str, str]:
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(payload, bytes):
            raise BadInputError("a form part without a name: external data is not spoken here")
        if part.get_filename():
            raise BadInputError(f"external data ({name}) is not spoken here: insert it into a table first")
        fields[name] = _text(payload)
    return fields
