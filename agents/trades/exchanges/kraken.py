"""Kraken: WebSocket v2 `trade` channel and REST `Trades`. Pure; never raises on input.

Where the facts come from: docs.kraken.com, spot-websocket-v2/trade and rest-api/get-recent-trades, checked against
recorded frames and pages. What the recordings show and the pages do not say is marked (recorded).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

import msgspec

from agents.trades import loose
from agents.trades.exchange import MAX_FRAME_BYTES, MAX_FRAME_ROWS, Answer, Cursor, Decoded, Page, Request
from agents.trades.fields import (
    FUTURE_NS,
    MAX_TRADE_ID,
    check_side,
    check_time,
    epoch_ns,
    positive,
    rfc3339_ns,
    trade_number,
    unknown_pair,
)
from agents.trades.kraken_columns import PAGE_ROWS, page_trades, place
from agents.trades.refusals import FieldError, Refusal
from tables.records import Trade

__all__ = ["Kraken", "decode_asset_pairs", "decode_frame", "decode_page", "exchange"]

ROW_FIELDS: Final = 7
_SIDES: Final = {"b": "buy", "s": "sell"}
_ORD_TYPES: Final = {"m": "market", "l": "limit"}
_RETRIABLE: Final = (
    "EGeneral:Toomanyrequests",
    "EGeneral:Internalerror",
    "EGeneral:Temporarylockout",
    "EAPI:Ratelimitexceeded",
    "EService:",
)
"""Errors that ask for patience, as against refusing the request; without spaces, which vary (recorded)."""
_V1_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}
_Positive = Annotated[float, msgspec.Meta(gt=0)]


class _Row(msgspec.Struct, gc=False):
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


class _PageRow(msgspec.Struct, array_like=True):
    price: str
    qty: str
    time: msgspec.Raw
    side: str
    ord_type: str
    misc: str
    trade_id: int


class _Body(msgspec.Struct):
    error: list[str] | str = []
    result: msgspec.Raw = msgspec.Raw(b"{}")


_FAST: Final = msgspec.json.Decoder(_TradeFrame)
_BODY: Final = msgspec.json.Decoder(_Body)
_RESULT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS: Final = msgspec.json.Decoder(list[_PageRow])


class Kraken:
    """Kraken under its own name, or the simulator that speaks its words."""

    ws_url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    by_time = True

    def __init__(self, source: str = "kraken") -> None:
        self.source = source
        # Kraken publishes no number for public calls; one a second is the usual advice, 30 at once were too many.
        self.calls_per_s = 1.0 if source == "kraken" else 500.0

    def subscribe(self, pairs: tuple[str, ...], req_id: int) -> list[str]:
        """Ask for trades with a snapshot; one ack or refusal comes for each pair."""
        params = {"channel": "trade", "symbol": list(pairs), "snapshot": True}
        return [json.dumps({"method": "subscribe", "req_id": req_id, "params": params})]

    def ping(self, req_id: int) -> str:
        """Ask for a pong: idle sockets are closed after about a minute."""
        return json.dumps({"method": "ping", "req_id": req_id})

    def decode(self, raw: str | bytes, pairs: frozenset[str], received_ns: int) -> Decoded:
        return decode_frame(raw, pairs, received_ns, self.source)

    def listing(self) -> Request:
        return Request("/0/public/AssetPairs")

    def decode_listing(self, answer: Answer) -> tuple[dict[str, str], str]:
        return decode_asset_pairs(answer.body)

    def page_request(self, name: str, cursor: Cursor) -> Request:
        """Ask by time in ns: rows at or after it, oldest first."""
        query = {"pair": name, "since": str(cursor.since_ns), "count": str(PAGE_ROWS)}
        return Request("/0/public/Trades", query)

    def decode_page(self, answer: Answer, pair: str, cursor: Cursor, received_ns: int) -> Page:
        """Read a page; errors come with status 200 and in the body."""
        if answer.status != 200:  # noqa: PLR2004  # HTTP's own word
            return Page(error=f"HTTP status {answer.status}", retriable=True)
        return decode_page(answer.body, pair, received_ns, self.source, cursor.since_ns)


exchange = Kraken


def decode_frame(raw: str | bytes, pairs: frozenset[str], received_ns: int, source: str = "kraken") -> Decoded:
    """Decode one frame.

    A good trade is never lost because of a bad neighbour: whatever the strict decoder refuses is taken
    apart trade by trade, and each bad one becomes a refusal with its reason.
    """
    data = raw if isinstance(raw, bytes) else loose.as_bytes(raw)
    if len(data) > MAX_FRAME_BYTES:
        return loose.malformed(data, f"{len(data)} bytes, more than {MAX_FRAME_BYTES}", "too-large")
    try:
        frame = _FAST.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _decode_loose(data, pairs, received_ns, source)
    decoded = Decoded("trades", snapshot=frame.type == "snapshot")
    latest_ns = received_ns + FUTURE_NS
    for row in frame.data:
        try:
            if row.symbol not in pairs:
                unknown_pair(row.symbol)
            ts_ns = rfc3339_ns(row.timestamp)
            if not 0 < ts_ns <= latest_ns:
                check_time(ts_ns, received_ns)  # says what is wrong with it
        except FieldError as error:
            payload = msgspec.json.encode(row).decode()
            decoded.refusals.append(Refusal(error.reason, error.detail, payload, row.symbol))
            continue
        trade = Trade(row.symbol, row.trade_id, ts_ns, row.price, row.qty, row.side, row.ord_type, source)
        decoded.trades.append(trade)
    return decoded


def _decode_loose(data: bytes, pairs: frozenset[str], received_ns: int, source: str) -> Decoded:
    frame = loose.loose_object(data)
    if isinstance(frame, Decoded):
        return frame
    channel = frame.get("channel")
    if channel == "trade":
        return _trades_loose(frame, data, pairs, received_ns, source)
    if isinstance(channel, str):
        return _notice(channel, frame)
    return _reply(frame, data)


def _notice(channel: str, frame: dict[str, Any]) -> Decoded:
    if channel == "heartbeat":
        return Decoded("heartbeat")
    if channel != "status":
        return Decoded("other", text=channel[:64])
    data = frame.get("data")
    first = data[0] if isinstance(data, list) and data else None
    system = first.get("system") if isinstance(first, dict) else None
    return Decoded("status", text=system[:64] if isinstance(system, str) else "")


def _reply(frame: dict[str, Any], data: bytes) -> Decoded:
    """Read what answers a request: acks, refusals, pongs."""
    method = frame.get("method")
    req_id = loose.id_or_none(frame.get("req_id"))
    error = frame.get("error")
    if isinstance(error, str) or frame.get("success") is False:
        symbol = frame.get("symbol")
        kind = "refused" if method == "subscribe" else "error"
        return Decoded(
            kind,
            pairs=[symbol] if isinstance(symbol, str) else [],
            req_id=req_id,
            text=error if isinstance(error, str) else "no reason given",
        )
    if method == "pong":
        return Decoded("pong", req_id=req_id)
    result = frame.get("result")
    if method == "subscribe" and isinstance(result, dict):
        symbol = result.get("symbol")
        kind = "ack" if result.get("channel") == "trade" else "other"
        return Decoded(kind, pairs=[symbol] if isinstance(symbol, str) else [], req_id=req_id, text="subscribe")
    if isinstance(method, str):
        return Decoded("other", text=method[:64])
    return loose.malformed(data, "neither a channel nor a method")


def _trades_loose(frame: dict[str, Any], data: bytes, pairs: frozenset[str], received_ns: int, source: str) -> Decoded:
    rows = frame.get("data")
    if frame.get("type") not in ("snapshot", "update") or not isinstance(rows, list) or len(rows) > MAX_FRAME_ROWS:
        return loose.malformed(data, "a trade frame without type or data, or with more rows than fit")
    decoded = Decoded("trades", snapshot=frame.get("type") == "snapshot")
    for row in rows:
        try:
            decoded.trades.append(_trade_loose(row, pairs, received_ns, source))
        except FieldError as error:
            symbol = row.get("symbol") if isinstance(row, dict) else ""
            decoded.refusals.append(loose.refusal_of(error, row, symbol))
    return decoded


def _trade_loose(row: object, pairs: frozenset[str], received_ns: int, source: str) -> Trade:
    if not isinstance(row, dict):
        raise FieldError("wrong-type", "a trade must be an object")
    symbol = loose.text_field(row, "symbol")
    if symbol not in pairs:
        unknown_pair(symbol)
    price, qty = loose.number_field(row, "price"), loose.number_field(row, "qty")
    side = check_side(loose.text_field(row, "side"))
    ts_ns = check_time(rfc3339_ns(loose.text_field(row, "timestamp")), received_ns)
    ord_type = row.get("ord_type")
    kept = ord_type if ord_type in ("limit", "market") else ""
    return Trade(symbol, loose.id_field(row, "trade_id"), ts_ns, price, qty, side, kept, source)


def _result(body: bytes) -> tuple[dict[str, msgspec.Raw], str, bool]:
    """Take the envelope off: result by name, error text, whether trying again may help."""
    try:
        envelope = _BODY.decode(body)
        errors = [envelope.error] if isinstance(envelope.error, str) else envelope.error
        if errors and errors != [""]:
            text = "; ".join(errors)[:300]
            return {}, text, text.replace(" ", "").startswith(_RETRIABLE)
        return _RESULT.decode(envelope.result), "", False
    except (msgspec.MsgspecError, ValueError, RecursionError):
        start = body[:60].decode("utf-8", "replace")
        return {}, f"not the JSON of Kraken's API: {start!r}", True


def decode_page(body: bytes, pair: str, received_ns: int, source: str = "kraken", since_ns: int = 0) -> Page:
    """Decode a `Trades` body of `pair`; the result key is Kraken's internal name and is not looked at."""
    try:
        trades, last = page_trades(body, pair, received_ns, source)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        page, last = _page_by_rows(body, pair, received_ns, source)
    else:
        page = Page(trades, rows=len(trades))
    if not page.error:
        place(page, last, since_ns)
    return page


def _page_by_rows(body: bytes, pair: str, received_ns: int, source: str) -> tuple[Page, str]:
    """Decode a body whose form is not the usual one, or that has a bad row; gives the text of `last` too."""
    result, error, retriable = _result(body)
    if error:
        return Page(error=error, retriable=retriable), ""
    last = bytes(result.pop("last", b"")).decode("utf-8", "replace").strip('"')
    if len(result) != 1:
        return Page(error=f"{len(result)} pairs in one page", retriable=True), ""
    raw = next(iter(result.values()))
    page = Page()
    try:
        rows: list[_PageRow] = _ROWS.decode(raw)
        for row in rows:
            values = (row.price, row.qty, bytes(row.time).decode(), row.side, row.ord_type, str(row.trade_id))
            _add(page, values, pair, received_ns, source)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        page = _loose_page(bytes(raw), pair, received_ns, source)
    return page, last


def _add(page: Page, values: tuple[str, ...], pair: str, received_ns: int, source: str) -> None:
    page.rows += 1
    price, qty, time, side, ord_type, number = values
    try:
        page.trades.append(
            Trade(
                pair,
                trade_number(number),
                check_time(epoch_ns(time), received_ns),
                positive(price, "price"),
                positive(qty, "qty"),
                check_side(_SIDES.get(side, f"{side} on REST")),
                _ORD_TYPES.get(ord_type, ""),
                source,
            )
        )
    except FieldError as error:
        page.refusals.append(Refusal(error.reason, error.detail, json.dumps(values), pair))


def _loose_page(raw: bytes, pair: str, received_ns: int, source: str) -> Page:
    page = Page()
    try:
        rows: Any = loose.loose_json(raw)
    except ValueError as error:
        return Page(error=f"rows are not JSON: {error}", retriable=True)
    if not isinstance(rows, list):
        return Page(error="the rows of the page are no array", retriable=True)
    for row in rows:
        if isinstance(row, list) and len(row) >= ROW_FIELDS and all(isinstance(part, str) for part in row[:ROW_FIELDS]):
            if not isinstance(row[0], loose.NumberText) and not isinstance(row[1], loose.NumberText):
                price, qty, time, side, ord_type, _, number = row[:ROW_FIELDS]
                _add(page, (price, qty, time, side, ord_type, number), pair, received_ns, source)
                continue
            reason, detail = "wrong-type", "price or volume is no text"
        elif isinstance(row, list) and len(row) < ROW_FIELDS:
            reason, detail = "missing-field", f"{len(row)} fields, 7 expected (trade_id came in 2023)"
        else:
            reason, detail = "wrong-type", "a row must be an array of 7 fields"
        page.rows += 1
        page.refusals.append(Refusal(reason, detail, json.dumps(row), pair))
    return page


def decode_asset_pairs(body: bytes) -> tuple[dict[str, str], str]:
    """Map v2 symbols (`BTC/USD`) to REST names (`XBTUSD`); the text is an error where there is one."""
    result, error, _ = _result(body)
    names: dict[str, str] = {}
    for raw in result.values():
        try:
            entry: Any = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        wsname = entry.get("wsname") if isinstance(entry, dict) else None
        altname = entry.get("altname") if isinstance(entry, dict) else None
        if isinstance(wsname, str) and isinstance(altname, str) and wsname.count("/") == 1:
            base, quote = wsname.split("/")
            names[f"{_V1_NAMES.get(base, base)}/{_V1_NAMES.get(quote, quote)}"] = altname
    return names, error
