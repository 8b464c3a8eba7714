"""Kraken's pages of history read column by column: the short way through `exchanges/kraken.py`.

Only pages in the usual form are read here, and exactly as the row-by-row way reads them; anything odd, such as one
bad row, is left to that way as a whole. A page has 1,000 rows: work per row is done in C, none in Python.
"""

from __future__ import annotations

from itertools import repeat
from operator import itemgetter
from typing import Annotated, Final

import msgspec

from agents.trades.exchange import Cursor, Page
from agents.trades.fields import FUTURE_NS, MAX_TRADE_ID
from tables.records import Side, Trade

__all__ = ["DISORDER_IDS", "PAGE_ROWS", "OddError", "epochs_ns", "page_trades", "place", "positives"]

PAGE_ROWS: Final = 1_000
"""Most rows of a page; a page with fewer is the newest one."""
DISORDER_IDS: Final = 50
"""Pages are in order of time; neighbours in id may lie on two pages, so the end of a full page tells of no id."""
NS_DIGITS: Final = 19
SECOND_DIGITS: Final = 10
"""Digits before the point, from 2001 to 2286."""
_SIDES: Final[dict[str, Side]] = {"b": "buy", "s": "sell"}
_ORD_TYPES: Final = {"m": "market", "l": "limit"}
_SCALE: Final = {SECOND_DIGITS + 1 + digits: 10 ** (9 - digits) for digits in range(1, 10)}
"""What a time of so many characters is multiplied by, once its point is out, to be ns."""
_INFINITY: Final = float("inf")


class OddError(ValueError):
    """Not the usual form; no word about right or wrong."""


class _Row(msgspec.Struct, array_like=True, gc=False):
    price: msgspec.Raw
    qty: msgspec.Raw
    time: msgspec.Raw
    side: str
    ord_type: str
    misc: str
    trade_id: Annotated[int, msgspec.Meta(gt=0, le=MAX_TRADE_ID)]


class _Body(msgspec.Struct):
    result: dict[str, list[_Row] | str]
    error: list[str] = []


_BODY: Final = msgspec.json.Decoder(_Body)
_FLOATS: Final = msgspec.json.Decoder(list[float])
_INTS: Final = msgspec.json.Decoder(list[int])


def positives(raws: list[msgspec.Raw]) -> list[float]:
    """Read JSON texts of plain decimal digits, such as `"0.04628248"`, to the nearest floats above zero.

    Raises
    ------
    ValueError
        One of them is in another form, or is no finite number above zero.
    """
    texts = b",".join(raws)
    # A text has two quotes and a bare number none: the count tells that all are texts.
    if texts.translate(None, b'0123456789."') != b"," * (len(raws) - 1) or texts.count(b'"') != 2 * len(raws):
        raise OddError("a number in another form")
    values: list[float] = _FLOATS.decode(b"[" + texts.replace(b'"', b"") + b"]")
    if not (min(values) > 0.0 and max(values) < _INFINITY):
        raise OddError("a number that is not above zero or not finite")
    return values


def epochs_ns(raws: list[msgspec.Raw]) -> list[int]:
    """Read bare JSON numbers of seconds, ten digits and up to nine decimals, to exact ns since the epoch.

    Raises
    ------
    ValueError
        One of them is in another form.
    """
    texts = b",".join(raws)
    parts = texts.split(b",")
    if (
        len(parts) != len(raws)
        or texts.count(b".") != len(raws)
        or set(map(itemgetter(slice(SECOND_DIGITS, SECOND_DIGITS + 1)), parts)) != {b"."}
        or texts.translate(None, b"0123456789.,")
    ):
        raise OddError("a time in another form")
    digits: list[int] = _INTS.decode(b"[" + texts.replace(b".", b"") + b"]")
    try:
        return [number * _SCALE[length] for number, length in zip(digits, map(len, parts), strict=True)]
    except KeyError as error:
        raise OddError("a time with more decimals than ns") from error


def page_trades(body: bytes, pair: str, received_ns: int, source: str) -> tuple[list[Trade], str]:
    """Trades of a `Trades` body, one for each of its rows and in their order, and the text of its `last`.

    Raises
    ------
    ValueError
        The body is in another form, or a row of it is to be refused.
    """
    if b"\\" in body:  # `last` is compared as it is written
        raise OddError("escapes")
    decoded: _Body = _BODY.decode(body)
    last = decoded.result.pop("last", "")
    if decoded.error or not isinstance(last, str) or len(decoded.result) != 1:
        raise OddError("no page")
    (rows,) = decoded.result.values()
    if isinstance(rows, str):
        raise OddError("no rows")
    if not rows:
        return [], last
    times_ns = epochs_ns([row.time for row in rows])
    if min(times_ns) <= 0 or max(times_ns) > received_ns + FUTURE_NS:
        raise OddError("a time that is refused")
    try:
        trades = map(
            Trade,
            repeat(pair),
            [row.trade_id for row in rows],
            times_ns,
            positives([row.price for row in rows]),
            positives([row.qty for row in rows]),
            [_SIDES[row.side] for row in rows],
            [_ORD_TYPES[row.ord_type] for row in rows],
            repeat(source),
        )
    except KeyError as error:
        raise OddError("a side or an order type of another name") from error
    return list(trades), last


def place(page: Page, last: str, since_ns: int) -> None:
    """Say which ids the page tells of, and where the next one starts."""
    full = page.rows >= PAGE_ROWS
    ids = [trade.trade_id for trade in page.trades]
    newest = max(ids, default=0)
    if ids:
        page.first_id = min(ids)
        page.last_id = max(newest - DISORDER_IDS if full else newest, page.first_id)
    if full:
        next_ns = max(_last_ns(last, page) or since_ns, since_ns)
        # A page full of one instant: step over it rather than ask for it for ever.
        page.next = Cursor(newest + 1, next_ns + (next_ns == since_ns))


def _last_ns(last: str, page: Page) -> int | None:
    if last.isascii() and last.isdigit() and len(last) == NS_DIGITS:
        return int(last)
    return max((trade.ts_ns for trade in page.trades), default=None)
