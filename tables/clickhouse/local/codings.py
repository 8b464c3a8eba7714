"""Content codings of the HTTP edge: lz4, zstd and gzip both ways, with a bound on what a body may grow to."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any, Final

import lz4.frame
from backports import zstd  # what clickhouse-connect itself brings along

from redpanda.errors import BadInputError

__all__ = ["choose", "decode", "encode"]

# A factory of stream decoders with the shape of bz2.BZ2Decompressor; each library has its own class.
_DECODERS: Final[dict[str, Callable[[], Any]]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}
_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "lz4": lz4.frame.compress,
    "zstd": lambda data: zstd.compress(data, 1),
    "gzip": lambda data: gzip.compress(data, 1),
}


def choose(accept_encoding: str) -> str:
    """Pick the first coding that both sides know; empty for none."""
    for part in accept_encoding.split(","):
        name = part.split(";")[0].strip().lower()
        if name in _ENCODERS:
            return name
    return ""


def encode(data: bytes, coding: str) -> bytes:
    """Compress a whole body; an empty coding leaves it alone."""
    return _ENCODERS[coding](data) if coding else data


def decode(data: bytes, coding: str, limit: int) -> bytes:
    """Decompress a whole body of one or more frames, to at most `limit` bytes.

    Raises
    ------
    BadInputError
        Unknown coding, broken or cut data, or a result above the limit.
    """
    if coding in {"", "identity"}:
        return data
    if coding not in {*_DECODERS, "gzip", "deflate"}:
        raise BadInputError(f"Content-Encoding {coding} is not spoken here: use lz4, zstd, gzip, deflate or none")
    out = bytearray()
    try:
        while data:
            data = _one_frame(data, coding, limit, out)
    except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
        raise BadInputError(f"the body is not valid {coding}: {error}") from error
    return bytes(out)


def _one_frame(data: bytes, coding: str, limit: int, out: bytearray) -> bytes:
    """Decode one frame onto `out` and return what follows it."""
    room = limit - len(out) + 1
    if coding in _DECODERS:
        decoder = _DECODERS[coding]()
        out += decoder.decompress(data, room)
        rest: bytes = decoder.unused_data or b""
    else:
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        out += decoder.decompress(data, room)
        rest = decoder.unused_data
    if len(out) > limit:
        raise BadInputError(
            f"the body is larger than {limit // 1_000_000} MB decompressed: "
            "send smaller batches or raise TICKCAST_STORE_BODY_MB"
        )
    if not decoder.eof:
        raise EOFError("it ends in the middle")
    return rest
