"""Kraken WebSocket v2 frames to trades and refusals. Pure; never raises on input."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

import msgspec

from agents.trades.fields import ID_DIGITS, MAX_TRADE_ID, check_side, check_time, positive, rfc3339_ns, trade_number
from agents.trades.refusals import FieldError, Refusal
from tables.records import Trade

__all__ = ["MAX_FRAME_BYTES", "Decoded", "NumberText", "decode_frame", "loose_json"]

MAX_FRAME_BYTES: Final = 1 << 20

_Positive = Annotated[float, msgspec.Meta(gt=0)]


class Decoded(msgspec.Struct):
    """What one frame said."""

    kind: str
    """`trades`, `ack`, `refused`, `status`, `heartbeat`, `pong`, `error`, `other`, `malformed`."""
    trades: list[Trade] = []
    refusals: list[Refusal] = []
    snapshot: bool = False
    symbol: str = ""
    """Of an ack or a refusal; a refusal may lack it."""
    req_id: int | None = None
    text: str = ""
    """The error of a refusal, the `system` of a status, the channel of anything else."""


class NumberText(str):
    """A bare JSON number (or NaN, Infinity) kept as its text."""

    __slots__ = ()


class _Row(msgspec.Struct):
    symbol: str
    side: Literal["buy", "sell"]
    price: _Positive
    qty: _Positive
    ord_type: Literal["limit", "market"]
    trade_id: Annotated[int, msgspec.Meta(gt=0, le=MAX_TRADE_ID)]
    timestamp: str


class _TradeFrame(msgspec.Struct):
    channel: Literal["trade"]
    type: Literal["snapshot", "update"]
    data: list[_Row]


_FAST: Final = msgspec.json.Decoder(_TradeFrame)


def loose_json(raw: bytes) -> Any:
    """Parse JSON and its NaN dialect with numbers as text.

    Raises
    ------
    ValueError
        It is not JSON, or nested beyond reason.
    """
    try:
        return json.loads(raw.decode("utf-8"), parse_float=NumberText, parse_int=NumberText, parse_constant=NumberText)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def decode_frame(raw: str | bytes, pairs: frozenset[str], received_ns: int, source: str = "kraken") -> Decoded:
    """Decode one frame.

    A good trade is never lost because of a bad neighbour: whatever the strict decoder refuses is taken
    apart trade by trade, and each bad one becomes a refusal with its reason.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > MAX_FRAME_BYTES:
        return _malformed(data, f"{len(data)} bytes, more than {MAX_FRAME_BYTES}", "too-large")
    try:
        frame = _FAST.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _decode_loose(data, pairs, received_ns, source)
    decoded = Decoded("trades", snapshot=frame.type == "snapshot")
    for row in frame.data:
        try:
            decoded.trades.append(_trade(row, pairs, received_ns, source))
        except FieldError as error:
            payload = msgspec.json.encode(row).decode()
            decoded.refusals.append(Refusal(error.reason, error.detail, payload, row.symbol))
    return decoded


def _trade(row: _Row, pairs: frozenset[str], received_ns: int, source: str) -> Trade:
    if row.symbol not in pairs:
        raise FieldError("unknown-pair", f"{row.symbol[:40]!r} is not in TICKCAST_PAIRS")
    ts_ns = check_time(rfc3339_ns(row.timestamp), received_ns)
    return Trade(row.symbol, row.trade_id, ts_ns, row.price, row.qty, row.side, row.ord_type, source)


def _malformed(data: bytes, detail: str, reason: str = "malformed-frame") -> Decoded:
    payload = data[:2_000].decode("utf-8", "replace")
    return Decoded("malformed", refusals=[Refusal(reason, detail, payload)])


def _decode_loose(data: bytes, pairs: frozenset[str], received_ns: int, source: str) -> Decoded:
    try:
        frame = loose_json(data)
    except ValueError as error:
        return _malformed(data, f"not JSON: {error}")
    if not isinstance(frame, dict):
        return _malformed(data, f"a JSON {type(frame).__name__}, not an object")
    channel = frame.get("channel")
    if channel == "trade":
        return _trades_loose(frame, data, pairs, received_ns, source)
    if isinstance(channel, str):
        return _notice(channel, frame)
    return _reply(frame, data)


def _notice(channel: str, frame: dict[str, Any]) -> Decoded:
    if channel == "heartbeat":
        return Decoded("heartbeat")
    if channel == "status":
        return Decoded("status", text=_system(frame.get("data")))
    return Decoded("other", text=channel[:64])


def _system(data: object) -> str:
    first = data[0] if isinstance(data, list) and data else None
    system = first.get("system") if isinstance(first, dict) else None
    return system[:64] if isinstance(system, str) else ""


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= ID_DIGITS


def _reply(frame: dict[str, Any], data: bytes) -> Decoded:
    """Read what answers a request: acks, refusals, pongs."""
    method = frame.get("method")
    number = frame.get("req_id")
    req_id = int(number) if isinstance(number, NumberText) and _is_id(number) else None
    error = frame.get("error")
    if isinstance(error, str) or frame.get("success") is False:
        symbol = frame.get("symbol")
        kind = "refused" if method == "subscribe" else "error"
        return Decoded(
            kind,
            symbol=symbol if isinstance(symbol, str) else "",
            req_id=req_id,
            text=error if isinstance(error, str) else "no reason given",
        )
    if method == "pong":
        return Decoded("pong", req_id=req_id)
    result = frame.get("result")
    if method == "subscribe" and isinstance(result, dict):
        symbol = result.get("symbol")
        channel = result.get("channel")
        return Decoded(
            "ack",
            symbol=symbol if isinstance(symbol, str) else "",
            req_id=req_id,
            text=channel if isinstance(channel, str) else "",
        )
    if isinstance(method, str):
        return Decoded("other", text=method[:64])
    return _malformed(data, "neither a channel nor a method")


def _trades_loose(frame: dict[str, Any], data: bytes, pairs: frozenset[str], received_ns: int, source: str) -> Decoded:
    rows = frame.get("data")
    if frame.get("type") not in ("snapshot", "update") or not isinstance(rows, list):
        return _malformed(data, "a trade frame without type or data")
    decoded = Decoded("trades", snapshot=frame.get("type") == "snapshot")
    for row in rows:
        try:
            decoded.trades.append(_trade_loose(row, pairs, received_ns, source))
        except FieldError as error:
            pair = row.get("symbol") if isinstance(row, dict) else ""
            pair = pair if isinstance(pair, str) else ""
            payload = json.dumps(row)[:2_000]
            decoded.refusals.append(Refusal(error.reason, error.detail, payload, pair))
    return decoded


def _trade_loose(row: object, pairs: frozenset[str], received_ns: int, source: str) -> Trade:
    if not isinstance(row, dict):
        raise FieldError("wrong-type", "a trade must be an object")
    symbol = _text(row, "symbol")
    if symbol not in pairs:
        raise FieldError("unknown-pair", f"{symbol[:40]!r} is not in TICKCAST_PAIRS")
    price, qty = _number(row, "price"), _number(row, "qty")
    side = check_side(_text(row, "side"))
    number = row.get("trade_id")
    if number is None:
        raise FieldError("missing-field", "trade_id is missing")
    if not isinstance(number, NumberText):
        raise FieldError("wrong-type", "trade_id is no number")
    ts_ns = check_time(rfc3339_ns(_text(row, "timestamp")), received_ns)
    ord_type = row.get("ord_type")
    kept = ord_type if ord_type in ("limit", "market") else ""
    return Trade(symbol, trade_number(number), ts_ns, price, qty, side, kept, source)


def _text(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    if value is None:
        raise FieldError("missing-field", f"{field} is missing")
    if not isinstance(value, str) or isinstance(value, NumberText):
        raise FieldError("wrong-type", f"{field} is no text")
    return value


def _number(row: dict[str, Any], field: str) -> float:
    value = row.get(field)
    if value is None:
        raise FieldError("missing-field", f"{field} is missing")
    if not isinstance(value, str):
        raise FieldError("wrong-type", f"{field} is no number")
    number = positive(value, field)  # text such as "NaN" gets its own reason before its type is blamed
    if not isinstance(value, NumberText):
        raise FieldError("wrong-type", f"{field} is text, not a number")
    return number
