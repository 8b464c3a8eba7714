"""Coinbase Exchange: WebSocket `matches` and `heartbeat` channels and REST product trades. Pure; never raises on input.

Where the facts come from: docs.cdp.coinbase.com, exchange/websocket-feed/overview and /channels, and
exchange-api/rest-api/products/get-product-trades with rest-api/pagination and rest-api/rate-limits.
What those pages do not say is marked (assumed): it has not met the exchange itself.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from agents.trades import loose
from agents.trades.exchange import MAX_FRAME_BYTES, Answer, Cursor, Decoded, Page, Request
from agents.trades.fields import MAX_TRADE_ID, check_time, positive, rfc3339_ns
from agents.trades.refusals import FieldError
from tables.records import Side, Trade

__all__ = ["Coinbase", "exchange"]

PAGE_ROWS: Final = 1_000
"""Most rows of a page, and the default (pagination)."""
TOP_IDS: Final = 50
"""A page whose newest id is so near to the newest it could have been may lack the last ones: another one follows."""
_TAKER: Final[dict[str, Side]] = {"buy": "sell", "sell": "buy"}
"""`side` is the maker's on the socket and on REST (channels, get-product-trades); ours is the taker's."""
_PRODUCT: Final = re.compile(r"\b[A-Z0-9]{1,12}-[A-Z0-9]{1,12}\b")


class _Match(msgspec.Struct):
    """A `match`, or the `last_match` that comes once after subscribing."""

    type: str
    trade_id: int
    side: str
    size: str
    price: str
    product_id: str
    time: str


class _PageRow(msgspec.Struct):
    trade_id: int
    side: str
    size: str
    price: str
    time: str


class _Product(msgspec.Struct):
    id: str
    base_currency: str
    quote_currency: str


_MATCH: Final = msgspec.json.Decoder(_Match)
_ROWS: Final = msgspec.json.Decoder(list[_PageRow])
_PRODUCTS: Final = msgspec.json.Decoder(list[_Product])


class Coinbase:
    """Coinbase Exchange, the public feed without authentication."""

    ws_url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    by_time = False  # pages are found by id only (pagination)
    calls_per_s = 5.0  # 10 a second and IP address are allowed (rate-limits)

    def __init__(self, source: str = "coinbase") -> None:
        self.source = source

    def subscribe(self, pairs: tuple[str, ...], req_id: int) -> list[str]:
        """One message a pair: they add up (overview), and one that is refused does not cost the others."""
        del req_id  # replies carry no number
        return [
            json.dumps({"type": "subscribe", "product_ids": [_product(pair)], "channels": ["matches", "heartbeat"]})
            for pair in pairs
        ]

    def ping(self, req_id: int) -> str:
        """None: each product's heartbeat comes every second (channels)."""
        del req_id
        return ""

    def decode(self, raw: str | bytes, pairs: frozenset[str], received_ns: int) -> Decoded:
        data = loose.as_bytes(raw)
        if len(data) > MAX_FRAME_BYTES:
            return loose.malformed(data, f"{len(data)} bytes, more than {MAX_FRAME_BYTES}", "too-large")
        try:
            match = _MATCH.decode(data)
            if match.type in ("match", "last_match"):
                trade = self._trade(match, _known(match.product_id, pairs), received_ns)
                return Decoded("trades", [trade], snapshot=match.type == "last_match")
        except (msgspec.MsgspecError, ValueError, RecursionError):  # a FieldError is a ValueError
            pass
        return self._decode_loose(data, pairs, received_ns)

    def listing(self) -> Request:
        return Request("/products")

    def decode_listing(self, answer: Answer) -> tuple[dict[str, str], str]:
        try:
            products = _PRODUCTS.decode(answer.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return {}, _message(answer)
        return {f"{one.base_currency}/{one.quote_currency}": one.id for one in products}, ""

    def page_request(self, name: str, cursor: Cursor) -> Request:
        """Trades come newest first; `after` is an id, exclusive, that all of them are older than (pagination)."""
        query = {"limit": str(PAGE_ROWS)}
        if cursor.first_id:
            query["after"] = str(min(cursor.first_id + PAGE_ROWS, MAX_TRADE_ID))
        return Request(f"/products/{name}/trades", query)

    def decode_page(self, answer: Answer, pair: str, cursor: Cursor, received_ns: int) -> Page:
        """Errors have a status and a body with `message`; a page of HTML is not of the API and will pass."""
        try:
            if answer.status != 200:  # noqa: PLR2004  # HTTP's own word
                return Page(error=_message(answer), retriable=not answer.body.lstrip().startswith(b"{"))
            rows: list[Any] = _ROWS.decode(answer.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            try:
                rows = loose.loose_json(answer.body)
            except ValueError:
                rows = []
            if not isinstance(rows, list) or not rows:
                return Page(error=_message(answer), retriable=True)
        page = Page(rows=len(rows))
        for row in rows:
            try:
                read = self._trade if isinstance(row, _PageRow) else self._trade_loose
                page.trades.append(read(row, pair, received_ns))
            except FieldError as error:
                page.refusals.append(loose.refusal_of(error, _builtin(row), pair))
        if page.trades:
            _place(page, cursor)
        return page

    def _trade(self, row: Any, pair: str, received_ns: int) -> Trade:
        if not 0 < row.trade_id <= MAX_TRADE_ID:
            raise FieldError("trade-id-invalid", f"trade_id is {row.trade_id}")
        ts_ns = check_time(rfc3339_ns(row.time), received_ns)
        price, qty = positive(row.price, "price"), positive(row.size, "qty")
        return Trade(pair, row.trade_id, ts_ns, price, qty, _taker(row.side), "", self.source)

    def _trade_loose(self, row: object, pair: str, received_ns: int) -> Trade:
        if not isinstance(row, dict):
            raise FieldError("wrong-type", "a trade must be an object")
        price = positive(loose.text_field(row, "price"), "price")
        qty = positive(loose.text_field(row, "size"), "qty")
        side = _taker(loose.text_field(row, "side"))
        ts_ns = check_time(rfc3339_ns(loose.text_field(row, "time")), received_ns)
        return Trade(pair, loose.id_field(row, "trade_id"), ts_ns, price, qty, side, "", self.source)

    def _decode_loose(self, data: bytes, pairs: frozenset[str], received_ns: int) -> Decoded:
        frame = loose.loose_object(data)
        if isinstance(frame, Decoded):
            return frame
        kind = frame.get("type")
        if not isinstance(kind, str):
            return loose.malformed(data, "a frame without a type")
        if kind in ("match", "last_match"):
            decoded = Decoded("trades", snapshot=kind == "last_match")
            try:
                pair = _known(loose.text_field(frame, "product_id"), pairs)
                decoded.trades.append(self._trade_loose(frame, pair, received_ns))
            except FieldError as error:
                product = frame.get("product_id")
                pair = _pair(product) if isinstance(product, str) else ""
                decoded.refusals.append(loose.refusal_of(error, frame, pair))
            return decoded
        return _notice(kind, frame, pairs)


exchange = Coinbase


def _product(pair: str) -> str:
    return pair.replace("/", "-")


def _pair(product: str) -> str:
    return product.replace("-", "/")


def _known(product: str, pairs: frozenset[str]) -> str:
    pair = _pair(product)
    if pair not in pairs:
        raise FieldError("unknown-pair", f"{product[:40]!r} is not in TICKCAST_PAIRS")
    return pair


def _taker(maker: str) -> Side:
    if maker not in _TAKER:
        raise FieldError("side-unknown", f"side is {maker[:40]!r}")
    return _TAKER[maker]


def _notice(kind: str, frame: dict[str, Any], pairs: frozenset[str]) -> Decoded:
    """Read what is no trade. New types may come at any time and are to be ignored (overview)."""
    if kind == "heartbeat":
        product, newest = frame.get("product_id"), loose.id_or_none(frame.get("last_trade_id"))
        pair = _pair(product) if isinstance(product, str) else ""
        # Users have seen 0 in every heartbeat of public feeds (go-coinbasepro, issue 89): then it tells nothing.
        known = pair in pairs and newest and newest <= MAX_TRADE_ID
        return Decoded("heartbeat", newest_ids={pair: newest} if known and newest else {})
    if kind == "subscriptions":
        channels = frame.get("channels")
        matches = [one for one in channels if isinstance(one, dict)] if isinstance(channels, list) else []
        products = [one.get("product_ids") for one in matches if one.get("name") == "matches"]
        listed = [name for names in products if isinstance(names, list) for name in names if isinstance(name, str)]
        return Decoded("ack", pairs=[pair for name in listed if (pair := _pair(name)) in pairs])
    if kind == "error":
        parts = [frame.get(part) for part in ("message", "reason")]
        text = ": ".join(part for part in parts if isinstance(part, str))[:300] or "no reason given"
        if "ubscri" not in text:
            return Decoded("error", text=text)
        # That the reason names the product is assumed; without one it speaks of the whole request.
        named = [_pair(name) for name in _PRODUCT.findall(text)]
        return Decoded("refused", pairs=[pair for pair in named if pair in pairs], text=text)
    return Decoded("other", text=kind[:64])


def _place(page: Page, cursor: Cursor) -> None:
    """Say which ids the page tells of, and where the next one starts."""
    page.first_id = min(trade.trade_id for trade in page.trades)
    page.last_id = max(trade.trade_id for trade in page.trades)
    if cursor.first_id and page.last_id >= cursor.first_id + PAGE_ROWS - 1 - TOP_IDS:
        page.next = Cursor(page.last_id + 1, cursor.since_ns)


def _message(answer: Answer) -> str:
    try:
        message = msgspec.json.decode(answer.body, type=dict[str, Any]).get("message")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        message = None
    said = message[:300] if isinstance(message, str) else repr(answer.body[:60].decode("utf-8", "replace"))
    return f"HTTP status {answer.status}: {said}"


def _builtin(row: object) -> object:
    return msgspec.to_builtins(row) if isinstance(row, _PageRow) else row
