"""Kraken REST bodies to trades, names, errors and refusals. Pure; never raises on input."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from agents.trades.fields import check_time, epoch_ns, positive, trade_number
from agents.trades.frames import NumberText, loose_json
from agents.trades.refusals import FieldError, Refusal
from tables.records import Side, Trade

__all__ = ["MAX_PAGE_BYTES", "Page", "decode_asset_pairs", "decode_page", "is_throttle"]

MAX_PAGE_BYTES: Final = 8 << 20
ROW_FIELDS: Final = 7
NS_DIGITS: Final = 19
_SIDES: Final[dict[str, Side]] = {"b": "buy", "s": "sell"}
_ORD_TYPES: Final = {"m": "market", "l": "limit"}
_RETRIABLE: Final = (
    "EGeneral:Too many requests",
    "EGeneral:Internal error",
    "EGeneral:Temporary lockout",
    "EAPI:Rate limit exceeded",
    "EService:",
)
_V1_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}


class Page(msgspec.Struct):
    """One page of history."""

    trades: list[Trade] = []
    refusals: list[Refusal] = []
    rows: int = 0
    """Rows the page held, refused ones included."""
    last_ns: int | None = None
    """Where the next page starts, inclusive; None where the page lacks it and has no row."""
    error: str = ""
    """Not empty: the exchange gave no page, and why."""
    retriable: bool = False


class _Row(msgspec.Struct, array_like=True):
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


_BODY: Final = msgspec.json.Decoder(_Body)
_RESULT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS: Final = msgspec.json.Decoder(list[_Row])


def is_throttle(error: str) -> bool:
    """Whether the exchange asks for patience, as against refusing the request."""
    return error.replace(" ", "").startswith(tuple(text.replace(" ", "") for text in _RETRIABLE))


def _result(body: bytes) -> tuple[dict[str, msgspec.Raw], str, bool]:
    """Take the envelope off: result by name, error text, whether trying again may help."""
    if len(body) > MAX_PAGE_BYTES:
        return {}, f"a body of {len(body)} bytes, more than {MAX_PAGE_BYTES}", True
    try:
        envelope = _BODY.decode(body)
        errors = [envelope.error] if isinstance(envelope.error, str) else envelope.error
        if errors and errors != [""]:
            text = "; ".join(errors)[:300]
            return {}, text, is_throttle(text)
        return _RESULT.decode(envelope.result), "", False
    except (msgspec.MsgspecError, ValueError, RecursionError):
        start = body[:60].decode("utf-8", "replace")
        return {}, f"not the JSON of Kraken's API: {start!r}", True


def decode_page(body: bytes, pair: str, received_ns: int, source: str = "kraken") -> Page:
    """Decode a `Trades` body of `pair`; the result key is Kraken's internal name and is not looked at."""
    result, error, retriable = _result(body)
    if error:
        return Page(error=error, retriable=retriable)
    last = result.pop("last", None)
    if len(result) != 1:
        return Page(error=f"{len(result)} pairs in one page", retriable=True)
    raw = next(iter(result.values()))
    page = Page()
    try:
        rows: list[_Row] = _ROWS.decode(raw)
        for row in rows:
            values = (row.price, row.qty, bytes(row.time).decode(), row.side, row.ord_type, str(row.trade_id))
            _add(page, values, pair, received_ns, source)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        page = _loose_page(bytes(raw), pair, received_ns, source)
    if not page.error:
        page.last_ns = _last_ns(last, page)
    return page


def _side(letter: str) -> Side:
    if letter not in _SIDES:
        raise FieldError("side-unknown", f"side is {letter[:40]!r}")
    return _SIDES[letter]


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
                _side(side),
                _ORD_TYPES.get(ord_type, ""),
                source,
            )
        )
    except FieldError as error:
        page.refusals.append(Refusal(error.reason, error.detail, json.dumps(values), pair))


def _loose_page(raw: bytes, pair: str, received_ns: int, source: str) -> Page:
    page = Page()
    try:
        rows: Any = loose_json(raw)
    except ValueError as error:
        return Page(error=f"rows are not JSON: {error}", retriable=True)
    if not isinstance(rows, list):
        return Page(error="the rows of the page are no array", retriable=True)
    for row in rows:
        if isinstance(row, list) and len(row) >= ROW_FIELDS and all(isinstance(part, str) for part in row[:ROW_FIELDS]):
            if not isinstance(row[0], NumberText) and not isinstance(row[1], NumberText):
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


def _last_ns(last: msgspec.Raw | None, page: Page) -> int | None:
    text = bytes(last).decode("utf-8", "replace").strip('"') if last is not None else ""
    if text.isascii() and text.isdigit() and len(text) == NS_DIGITS:
        return int(text)
    return max((trade.ts_ns for trade in page.trades), default=None)


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
