from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.trades.exchange import MAX_FRAME_BYTES, Answer, Cursor, Decoded, Page
from agents.trades.exchanges.coinbase import Coinbase
from agents.trades.refusals import REASONS, dead_letter
from tables.records import Trade

PAIRS = frozenset(("BTC/USD", "ETH/EUR"))
NOW_NS = 1_800_000_000_000_000_000
COINBASE = Coinbase()
STAMP = "2014-11-07T08:19:27.028459Z"
STAMP_NS = 1_415_348_367_028_459_000
# The match of the documentation's channels page, with the pair spelled as today.
MATCH = {
    "type": "match",
    "trade_id": 10,
    "sequence": 50,
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "time": STAMP,
    "product_id": "BTC-USD",
    "size": "5.23512",
    "price": "400.23",
    "side": "sell",
}
GOOD = Trade("BTC/USD", 10, STAMP_NS, 400.23, 5.23512, "buy", "", "coinbase")
ROW = {"time": STAMP, "trade_id": 74, "price": "10.00000000", "size": "0.01000000", "side": "buy"}


def decode(frame: object) -> Decoded:
    raw = frame if isinstance(frame, str | bytes) else json.dumps(frame)
    return COINBASE.decode(raw, PAIRS, NOW_NS)


def page(rows: object, status: int = 200, first_id: int = 1) -> Page:
    body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    return COINBASE.decode_page(Answer(body, status), "BTC/USD", Cursor(first_id, 7), NOW_NS)


@pytest.mark.parametrize("kind", ["match", "last_match"])
def test_a_match_is_read_to_the_digit_and_its_side_is_the_takers(kind: str) -> None:
    decoded = decode(MATCH | {"type": kind})
    assert (decoded.kind, decoded.trades, decoded.refusals) == ("trades", [GOOD], [])
    assert decoded.snapshot is (kind == "last_match")


def test_the_careful_path_reads_what_the_fast_path_reads() -> None:
    raw = json.dumps(MATCH).encode()
    assert COINBASE._decode_loose(raw, PAIRS, NOW_NS).trades == [GOOD]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"product_id": "LTC-USD"}, "unknown-pair"),
        ({"product_id": 5}, "wrong-type"),
        ({"product_id": None}, "missing-field"),
        ({"price": "0"}, "price-not-positive"),
        ({"price": "-0.1"}, "price-not-positive"),
        ({"price": "NaN"}, "price-not-finite"),
        ({"price": 400.23}, "wrong-type"),
        ({"price": None}, "missing-field"),
        ({"size": "0.0"}, "qty-not-positive"),
        ({"size": "1e999"}, "qty-not-finite"),
        ({"side": "hold"}, "side-unknown"),
        ({"trade_id": 0}, "trade-id-invalid"),
        ({"trade_id": -4}, "trade-id-invalid"),
        ({"trade_id": 1.5}, "trade-id-invalid"),
        ({"trade_id": 2**63}, "trade-id-invalid"),
        ({"trade_id": "7"}, "wrong-type"),
        ({"time": "yesterday"}, "timestamp-invalid"),
        ({"time": "2099-01-01T00:00:00Z"}, "future-timestamp"),
    ],
)
def test_a_bad_match_is_refused_with_its_reason(changed: dict[str, object], reason: str) -> None:
    decoded = decode(MATCH | changed)
    assert not decoded.trades
    assert [refusal.reason for refusal in decoded.refusals] == [reason]


@pytest.mark.parametrize(
    ("frame", "kind", "expected"),
    [
        (
            {
                "type": "subscriptions",
                "channels": [
                    {"name": "heartbeat", "product_ids": ["ETH-EUR"]},
                    {"name": "matches", "product_ids": ["BTC-USD"]},
                ],
            },
            "ack",
            {"pairs": ["BTC/USD"]},
        ),
        (
            {"type": "error", "message": "Failed to subscribe", "reason": "ETH-EUR is not a valid product"},
            "refused",
            {"pairs": ["ETH/EUR"], "text": "Failed to subscribe: ETH-EUR is not a valid product"},
        ),
        ({"type": "error", "message": "Failed to subscribe"}, "refused", {"pairs": []}),
        ({"type": "error", "message": "Type has to be either subscribe or unsubscribe"}, "refused", {"pairs": []}),
        ({"type": "error", "message": "ErrSlowConsume"}, "error", {"text": "ErrSlowConsume"}),
        (
            {"type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": "BTC-USD", "time": STAMP},
            "heartbeat",
            {"newest_ids": {"BTC/USD": 20}},
        ),
        ({"type": "heartbeat", "last_trade_id": 0, "product_id": "BTC-USD"}, "heartbeat", {"newest_ids": {}}),
        ({"type": "heartbeat", "last_trade_id": 9, "product_id": "LTC-USD"}, "heartbeat", {"newest_ids": {}}),
        ({"type": "ticker", "price": "1"}, "other", {"text": "ticker"}),
        ({"no": "type"}, "malformed", {}),
        ([], "malformed", {}),
        ("{", "malformed", {}),
    ],
)
def test_other_frames_are_told_apart(frame: object, kind: str, expected: dict[str, Any]) -> None:
    decoded = decode(frame)
    assert decoded.kind == kind
    assert {name: getattr(decoded, name) for name in expected} == expected


def test_a_frame_over_one_mebibyte_is_refused_unread() -> None:
    decoded = decode(json.dumps(MATCH) + " " * MAX_FRAME_BYTES)
    assert [refusal.reason for refusal in decoded.refusals] == ["too-large"]


def test_a_subscription_is_one_message_a_pair() -> None:
    messages = [json.loads(one) for one in COINBASE.subscribe(("BTC/USD", "ETH/EUR"), 1)]
    assert [one["product_ids"] for one in messages] == [["BTC-USD"], ["ETH-EUR"]]
    assert all(one["type"] == "subscribe" and "matches" in one["channels"] for one in messages)


def test_a_page_is_asked_for_by_the_id_above_it() -> None:
    assert COINBASE.page_request("BTC-USD", Cursor(0, 7)).query == {"limit": "1000"}
    request = COINBASE.page_request("BTC-USD", Cursor(501, 7))
    assert (request.path, request.query) == ("/products/BTC-USD/trades", {"limit": "1000", "after": "1501"})


def test_a_page_tells_of_its_ids_and_of_the_next_one() -> None:
    rows = [ROW | {"trade_id": number} for number in range(1_500, 500, -1)]
    full = page(rows, first_id=501)
    assert (full.first_id, full.last_id, full.rows, full.next) == (501, 1_500, 1_000, Cursor(1_501, 7))
    assert full.trades[-1] == Trade("BTC/USD", 501, STAMP_NS, 10.0, 0.01, "sell", "", "coinbase")
    assert page(rows[100:], first_id=501).next is None  # it ends where the market is
    assert page(rows[3:], first_id=501).next == Cursor(1_498, 7)  # the last ones may be missing
    assert page([]) == Page()


@pytest.mark.parametrize(
    ("body", "status", "retriable"),
    [
        ({"message": "NotFound"}, 404, False),
        ({"message": "Invalid after"}, 400, False),
        ({"message": "strange"}, 200, True),
        (b"<html>blocked</html>", 403, True),
        (b"<html>fine</html>", 200, True),
        (b"", 200, True),
        (b"5", 200, True),
    ],
)
def test_an_error_is_told_apart_from_an_empty_page(body: object, status: int, retriable: bool) -> None:
    got = page(body, status)
    assert got.error
    assert got.retriable is retriable
    assert not got.trades


def test_a_bad_row_is_refused_and_its_neighbours_stay() -> None:
    got = page(
        [ROW, ROW | {"trade_id": 75, "price": "0"}, ROW | {"trade_id": 76, "price": 5}, 5, ROW | {"trade_id": 77}]
    )
    assert [trade.trade_id for trade in got.trades] == [74, 77]
    assert [refusal.reason for refusal in got.refusals] == ["price-not-positive", "wrong-type", "wrong-type"]
    assert (got.rows, got.first_id, got.last_id) == (5, 74, 77)


def test_names_go_through_the_list() -> None:
    products = [{"id": "BTC-USD", "base_currency": "BTC", "quote_currency": "USD", "status": "online"}]
    assert COINBASE.decode_listing(Answer(json.dumps(products).encode())) == ({"BTC/USD": "BTC-USD"}, "")
    names, error = COINBASE.decode_listing(Answer(b'{"message":"no"}'))
    assert (names, error) == ({}, "HTTP status 200: no")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
FIELDS = st.sampled_from((*MATCH, "channels", "product_ids", "message", "reason", "last_trade_id", "name"))
KINDS = st.sampled_from(("match", "last_match", "subscriptions", "heartbeat", "error", "status", "x"))
FRAMES = st.builds(
    lambda base, kind, changed: base | {"type": kind} | changed,
    st.sampled_from((MATCH, {})),
    KINDS,
    st.dictionaries(FIELDS, VALUES, max_size=4),
)
ROWS = st.builds(lambda changed: ROW | changed, st.dictionaries(FIELDS, VALUES, max_size=3))


@settings(max_examples=200)
@given(st.binary(max_size=200) | (FRAMES | VALUES).map(lambda frame: json.dumps(frame).encode()))
def test_no_frame_raises_and_every_refusal_is_a_record(raw: bytes) -> None:
    decoded = COINBASE.decode(raw, PAIRS, NOW_NS)
    assert len(decoded.trades) + len(decoded.refusals) <= 1
    assert decoded.kind
    assert all(isinstance(pair, str) for pair in decoded.pairs)
    assert set(decoded.newest_ids) <= PAIRS
    for refusal in decoded.refusals:
        assert refusal.reason in REASONS
        assert msgspec.json.encode(dead_letter(refusal, 1))


@settings(max_examples=150)
@given(
    st.binary(max_size=100)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.lists(ROWS | VALUES, max_size=5).map(lambda rows: json.dumps(rows).encode()),
    st.sampled_from((200, 400, 404, 302)),
)
def test_no_body_raises(raw: bytes, status: int) -> None:
    got = page(raw, status)
    assert len(got.trades) + len(got.refusals) == got.rows
    assert all(refusal.reason in REASONS for refusal in got.refusals)
    COINBASE.decode_listing(Answer(raw, status))
