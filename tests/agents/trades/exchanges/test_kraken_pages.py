from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.trades.exchange import Answer, Cursor, Page
from agents.trades.exchanges.kraken import Kraken, decode_asset_pairs, decode_page
from agents.trades.kraken_columns import DISORDER_IDS, PAGE_ROWS
from agents.trades.refusals import REASONS

NOW_NS = 1_800_000_000_000_000_000
ROW = ["53018.10000", "0.04628248", 1616666442.2951703, "b", "m", "", 33185849]


def body(*rows: object, last: str | None = '"1616666442301045766"', name: str = "XXBTZUSD") -> bytes:
    end = f',"last":{last}' if last is not None else ""
    return f'{{"error":[],"result":{{"{name}":[{",".join(map(json.dumps, rows))}]{end}}}}}'.encode()


def changed(**parts: object) -> list[object]:
    places = ("price", "qty", "time", "side", "ord_type", "misc", "trade_id")
    return [parts.get(name, value) for name, value in zip(places, ROW, strict=True)]


def test_a_row_is_read_to_the_digit() -> None:
    page = decode_page(body(ROW), "BTC/USD", NOW_NS)
    (trade,) = page.trades
    assert (trade.pair, trade.trade_id, trade.price, trade.qty) == ("BTC/USD", 33185849, 53018.1, 0.04628248)
    assert trade.ts_ns == 1_616_666_442_295_170_300
    assert (trade.side, trade.ord_type, trade.source) == ("buy", "market", "kraken")
    assert page.next is None  # fewer rows than a page can hold: it is the newest


def full(last: str | None, since_ns: int = 0) -> Page:
    rows = [changed(trade_id=number, time=1616666442.2951703) for number in range(1, PAGE_ROWS + 1)]
    return decode_page(body(*rows, last=last), "BTC/USD", NOW_NS, "kraken", since_ns)


def test_a_full_page_says_where_the_next_one_starts() -> None:
    page = full('"1616666442301045766"')
    assert page.next == Cursor(PAGE_ROWS + 1, 1_616_666_442_301_045_766)
    assert (page.first_id, page.last_id) == (1, PAGE_ROWS - DISORDER_IDS)


def test_a_page_is_asked_for_in_ns_and_with_the_most_rows() -> None:
    request = Kraken().page_request("XBTUSD", Cursor(7, 1_616_666_442_301_045_766))
    assert request.path == "/0/public/Trades"
    assert request.query == {"pair": "XBTUSD", "since": "1616666442301045766", "count": "1000"}


@pytest.mark.parametrize("status", [403, 404, 520])
def test_an_answer_with_another_status_is_asked_for_again(status: int) -> None:
    page = Kraken().decode_page(Answer(body(ROW), status), "BTC/USD", Cursor(0, 0), NOW_NS)
    assert (page.error, page.retriable, page.trades) == (f"HTTP status {status}", True, [])


def test_a_page_full_of_one_instant_is_stepped_over() -> None:
    page = full('"1616666442295170300"', since_ns=1_616_666_442_295_170_300)
    assert page.next == Cursor(PAGE_ROWS + 1, 1_616_666_442_295_170_301)


@pytest.mark.parametrize("last", [None, "1", '"0"', '"soon"'])
def test_a_page_without_a_usable_last_goes_on_at_its_newest_trade(last: str | None) -> None:
    assert full(last).next == Cursor(PAGE_ROWS + 1, 1_616_666_442_295_170_300)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW[:6], "missing-field"),
        (changed(trade_id=0), "trade-id-invalid"),
        (changed(trade_id="7"), None),
        (changed(price="0.0"), "price-not-positive"),
        (changed(price="NaN"), "price-not-finite"),
        (changed(price=5.5), "wrong-type"),
        (changed(qty="-1"), "qty-not-positive"),
        (changed(side="x"), "side-unknown"),
        (changed(time=99999999999), "future-timestamp"),
        (changed(time=-1), "timestamp-invalid"),
        (changed(time=None), "timestamp-invalid"),
        ({"price": 1}, "wrong-type"),
        (5, "wrong-type"),
    ],
)
def test_a_bad_row_is_refused_and_its_neighbours_stay(row: object, reason: str | None) -> None:
    page = decode_page(body(ROW, row, changed(trade_id=33185850)), "BTC/USD", NOW_NS)
    if reason is not None:
        assert [refusal.reason for refusal in page.refusals] == [reason]
        assert [trade.trade_id for trade in page.trades] == [33185849, 33185850]
    assert page.rows == 3


@pytest.mark.parametrize(
    ("raw", "retriable"),
    [
        (b'{"error":["EQuery:Unknown asset pair"]}', False),
        (b'{"error":["EQuery:Unknown asset pair"],"result":{}}', False),
        (b'{"error":["EGeneral:Invalid arguments"]}', False),
        (b'{"error":["EGeneral:Too many requests"]}', True),
        (b'{"error":["EAPI:Rate limit exceeded"]}', True),
        (b'{"error":["EService: Throttled: 1786200000"]}', True),
        (b'{"error":"EService:Unavailable","result":{}}', True),
        (b'{"error":["EService:Busy"]}', True),
        (b'{"error":[],"result":{"last":1}}', True),
        (b"<html><body>502 Bad Gateway</body></html>", True),
        (b"", True),
        (b"[]", True),
        (b'{"error":[],"result":{"XXBTZUSD":5,"last":"1"}}', True),
    ],
)
def test_an_error_is_told_apart_from_an_empty_page(raw: bytes, retriable: bool) -> None:
    page = decode_page(raw, "BTC/USD", NOW_NS)
    assert page.error
    assert page.retriable is retriable
    assert not page.trades


def test_the_newest_page_is_empty_and_no_error() -> None:
    page = decode_page(body(), "BTC/USD", NOW_NS)
    assert (page.error, page.rows, page.next, page.last_id) == ("", 0, None, 0)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner),
)


@settings(max_examples=150)
@given(
    st.binary(max_size=100)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda rows, last: json.dumps({"error": [], "result": {"X": rows, "last": last}}).encode(),
        st.lists(VALUES | st.just(ROW) | st.lists(st.text(max_size=9), min_size=7, max_size=7)) | VALUES,
        VALUES,
    )
)
def test_no_body_raises(raw: bytes) -> None:
    page = decode_page(raw, "BTC/USD", NOW_NS)
    assert len(page.trades) + len(page.refusals) == page.rows
    assert all(refusal.reason in REASONS for refusal in page.refusals)
    decode_asset_pairs(raw)


def test_names_go_through_the_list_and_not_through_stripping_letters() -> None:
    entries = {
        "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD"},
        "XXDGZEUR": {"altname": "XDGEUR", "wsname": "XDG/EUR"},
        "AIOZUSD": {"altname": "AIOZUSD", "wsname": "AIOZ/USD"},
        "AIOUSD": {"altname": "AIOUSD", "wsname": "AIO/USD"},
        "DARK": {"altname": "XBTUSD.d"},
    }
    names, error = decode_asset_pairs(json.dumps({"error": [], "result": entries}).encode())
    assert not error
    assert names == {"BTC/USD": "XBTUSD", "DOGE/EUR": "XDGEUR", "AIOZ/USD": "AIOZUSD", "AIO/USD": "AIOUSD"}
