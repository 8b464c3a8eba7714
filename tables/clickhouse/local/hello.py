"""The greeting of ClickHouse's Go client, which Grafana's data source uses."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["HELLO", "hello_block"]

HELLO: Final = re.compile(
    r"\s*SELECT\s+displayName\(\),\s*version\(\),\s*revision\(\),\s*timezone\(\)\s*;?\s*", re.IGNORECASE
)
_CUSTOM_SERIALISATION: Final = 54_454


def hello_block(version: str, protocol_version: int) -> bytes:
    """Frame the one block that carries block info.

    The Go client decodes this block by its own protocol revision and every later one by the revision in the
    answer; 0 makes them plain Native, which is all that the embedded engine writes.
    """
    columns = (
        ("displayName()", "String", _string("tickcast store")),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", (0).to_bytes(4, "little")),
        ("timezone()", "String", _string("UTC")),
    )
    info = b"\x01\x00\x02" + (-1).to_bytes(4, "little", signed=True) + b"\x00"
    custom = b"\x00" if protocol_version >= _CUSTOM_SERIALISATION else b""
    body = b"".join(_string(name) + _string(kind) + custom + value for name, kind, value in columns)
    return info + bytes((len(columns), 1)) + body


def _string(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw  # every text here is shorter than 128 bytes
