"""What the ingest benchmarks feed in: Kraken's answers and frames in their recorded shapes, made of counted trades."""

from __future__ import annotations

import json
import struct
import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["asset_pairs", "frames_v1", "frames_v2", "pages", "socket_bytes"]

STEP_NS: Final = 1_234_500
"""Time between two trades: 810 a second, each at its own 100 ns as Kraken's REST gives them."""


def _price(number: int) -> str:
    return f"{60_000 + number * 7 % 9_000 / 10:.5f}"


def _qty(number: int) -> str:
    return f"{(number * 7_919 % 99_991 + 1) / 1e6:.8f}"


def pages(pair: str, first_id: int, count: int, rows: int = 1_000) -> list[bytes]:
    """Make bodies of `/0/public/Trades`: each row `[price, volume, time, b|s, m|l, "", trade_id]`."""
    made = []
    start_ns = time.time_ns() - (count * rows + 1) * STEP_NS
    for page in range(count):
        parts = []
        for row in range(rows):
            number = page * rows + row
            at_ns = start_ns + number * STEP_NS
            side, kind = "bs"[number % 3 % 2], "ml"[number % 2]
            parts.append(
                f'["{_price(number)}","{_qty(number)}",{at_ns // 10**9}.{at_ns % 10**9 // 100:07d},"{side}","{kind}",'
                f'"",{first_id + number}]'
            )
        last = start_ns + (page * rows + rows - 1) * STEP_NS
        body = f'{{"error":[],"result":{{"{pair.replace("/", "")}":[{",".join(parts)}],"last":"{last}"}}}}'
        made.append(body.encode())
    return made


def frames_v2(pair: str, first_id: int, count: int, at_ns: int) -> list[bytes]:
    """Make `trade` updates of WebSocket v2 with one trade each, all of one moment."""
    at = datetime.fromtimestamp(at_ns // 1_000 / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return [
        f'{{"channel":"trade","type":"update","data":[{{"symbol":"{pair}","side":"{"sell" if number % 3 else "buy"}",'
        f'"price":{_price(number)},"qty":{_qty(number)},"ord_type":"market","trade_id":{number},"timestamp":"{at}"}}]}}'.encode()
        for number in range(first_id, first_id + count)
    ]


def frames_v1(pair: str, first_id: int, count: int, at_ns: int) -> list[str]:
    """Make the same trades as frames of WebSocket v1, which is what cryptofeed speaks; v1 has no trade ids."""
    at = f"{at_ns / 1e9:.6f}"
    return [
        json.dumps(
            [337, [[_price(number), _qty(number), at, "s" if number % 3 else "b", "m", ""]], "trade", pair],
            separators=(",", ":"),
        )
        for number in range(first_id, first_id + count)
    ]


def socket_bytes(frames: list[bytes]) -> bytes:
    """Put text frames of a server one behind the other, as they go over the wire."""
    parts = []
    for frame in frames:
        size = len(frame)
        parts += [struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size), frame]
    return b"".join(parts)


def asset_pairs(pairs: list[str]) -> bytes:
    """Make a body of `/0/public/AssetPairs`."""
    listed = {pair.replace("/", ""): {"altname": pair.replace("/", ""), "wsname": pair} for pair in pairs}
    return json.dumps({"error": [], "result": listed}).encode()
