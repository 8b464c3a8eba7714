from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.trades.exchange import MAX_FRAME_BYTES, MAX_FRAME_ROWS
from agents.trades.exchanges.kraken import _decode_loose, decode_frame
from agents.trades.refusals import REASONS, dead_letter
from tables.records import Trade

PAIRS = frozenset(("BTC/USD", "ETH/USD"))
NOW_NS = 1_800_000_000_000_000_000
STAMP = "2024-05-27T12:33:10.826003Z"
STAMP_NS = 1_716_813_190_826_003_000


def row(**changed: str | None) -> str:
    fields: dict[str, str | None] = {
        "symbol": '"BTC/USD"',
        "side": '"buy"',
        "price": "68466.90",
        "qty": "0.01919415",
        "ord_type": '"market"',
        "trade_id": "70635251",
        "timestamp": f'"{STAMP}"',
    }
    fields |= changed
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items() if text is not None) + "}"


def frame(*rows: str, kind: str = "update") -> str:
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(rows)}]}}'


GOOD = Trade("BTC/USD", 70635251, STAMP_NS, 68466.9, 0.01919415, "buy", "market", "kraken")


def test_a_trade_is_read_to_the_digit() -> None:
    decoded = decode_frame(frame(row()), PAIRS, NOW_NS)
    assert decoded.kind == "trades"
    assert decoded.trades == [GOOD]
    assert not decoded.refusals


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"symbol": '"LTC/USD"'}, "unknown-pair"),
        ({"symbol": "5"}, "wrong-type"),
        ({"symbol": None}, "missing-field"),
        ({"price": "0"}, "price-not-positive"),
        ({"price": "-0.1"}, "price-not-positive"),
        ({"price": "NaN"}, "price-not-finite"),
        ({"price": '"NaN"'}, "price-not-finite"),
        ({"price": "Infinity"}, "price-not-finite"),
        ({"price": "1e999"}, "price-not-finite"),
        ({"price": '"68466.9"'}, "wrong-type"),
        ({"price": "true"}, "wrong-type"),
        ({"price": "[1]"}, "wrong-type"),
        ({"price": None}, "missing-field"),
        ({"price": "null"}, "missing-field"),
        ({"qty": "0.0"}, "qty-not-positive"),
        ({"qty": "-NaN"}, "malformed-frame"),
        ({"qty": "-Infinity"}, "qty-not-finite"),
        ({"side": '"hold"'}, "side-unknown"),
        ({"side": '""'}, "side-unknown"),
        ({"trade_id": "0"}, "trade-id-invalid"),
        ({"trade_id": "-4"}, "trade-id-invalid"),
        ({"trade_id": "1.5"}, "trade-id-invalid"),
        ({"trade_id": "9223372036854775808"}, "trade-id-invalid"),
        ({"trade_id": '"7"'}, "wrong-type"),
        ({"timestamp": '"yesterday"'}, "timestamp-invalid"),
        ({"timestamp": '"1960-01-01T00:00:00Z"'}, "timestamp-invalid"),
        ({"timestamp": '"2099-01-01T00:00:00Z"'}, "future-timestamp"),
        ({"timestamp": "17"}, "wrong-type"),
    ],
)
def test_a_bad_trade_is_refused_and_its_neighbours_stay(changed: dict[str, str | None], reason: str) -> None:
    decoded = decode_frame(frame(row(), row(**changed), row(trade_id="70635252")), PAIRS, NOW_NS)
    assert [refusal.reason for refusal in decoded.refusals] == [reason]
    if reason != "malformed-frame":  # -NaN is in no dialect of JSON: the frame has no readable neighbours
        assert [trade.trade_id for trade in decoded.trades] == [70635251, 70635252]


@pytest.mark.parametrize(
    "raw",
    ["", "{", "[]", "7", "null", '{"channel":"trade"}', '{"channel":"trade","type":"update","data":{}}', "{}"],
)
def test_what_is_no_frame_is_one_refusal(raw: str) -> None:
    decoded = decode_frame(raw, PAIRS, NOW_NS)
    assert decoded.kind == "malformed"
    assert [refusal.reason for refusal in decoded.refusals] == ["malformed-frame"]


def test_a_trade_that_is_no_object_is_refused_alone() -> None:
    decoded = decode_frame(frame("5", row(), "null", "[]"), PAIRS, NOW_NS)
    assert decoded.trades == [GOOD]
    assert [refusal.reason for refusal in decoded.refusals] == ["wrong-type"] * 3


def test_a_frame_over_one_mebibyte_is_refused_unread() -> None:
    decoded = decode_frame(" " * MAX_FRAME_BYTES + "{}", PAIRS, NOW_NS)
    assert [refusal.reason for refusal in decoded.refusals] == ["too-large"]


def test_a_frame_of_more_rows_than_trades_would_fit_is_one_refusal() -> None:
    decoded = decode_frame(frame(*["5"] * 100_000), PAIRS, NOW_NS)
    assert [refusal.reason for refusal in decoded.refusals] == ["malformed-frame"]


@pytest.mark.parametrize(
    "raw",
    [
        "[" * (MAX_FRAME_BYTES - 1),
        frame(*["5"] * (MAX_FRAME_ROWS - 1)),
        frame(*["{}"] * (MAX_FRAME_ROWS - 1)),
        frame(row(symbol=json.dumps("x" * 1_000_000))),
        frame(*[row()] * 6_000),
        json.dumps({"channel": "x" * 1_000_000}),
        json.dumps({"method": "subscribe", "success": False, "error": "x" * 1_000_000}),
        json.dumps({"channel": "trade", "type": "update", "data": [], "x": [0] * 300_000}),
    ],
    ids=["nested", "numbers", "objects", "text", "trades", "channel", "error", "other"],
)
def test_no_frame_takes_more_than_a_bounded_amount_of_memory(raw: str) -> None:
    tracemalloc.start()
    try:
        decode_frame(raw, PAIRS, NOW_NS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * MAX_FRAME_BYTES


def test_deep_nesting_is_refused() -> None:
    decoded = decode_frame("[" * 500_000, PAIRS, NOW_NS)
    assert [refusal.reason for refusal in decoded.refusals] == ["malformed-frame"]


def test_an_unknown_order_type_does_not_cost_the_trade() -> None:
    decoded = decode_frame(frame(row(ord_type='"iceberg"'), row(ord_type=None)), PAIRS, NOW_NS)
    assert [trade.ord_type for trade in decoded.trades] == ["", ""]


TRADES = st.builds(
    Trade,
    pair=st.sampled_from(sorted(PAIRS)),
    trade_id=st.integers(1, 2**63 - 1),
    ts_ns=st.integers(1, NOW_NS // 1_000).map(lambda us: us * 1_000),
    price=st.decimals("0.00000001", "9999999", places=8).map(float),
    qty=st.decimals("0.00000001", "9999999", places=8).map(float),
    side=st.sampled_from(("buy", "sell")),
    ord_type=st.sampled_from(("market", "limit")),
    source=st.just("kraken"),
)


def _wire(trade: Trade) -> str:
    seconds, rest = divmod(trade.ts_ns, 10**9)
    stamp = f"{_utc(seconds)}.{rest:09d}Z"
    return row(
        symbol=json.dumps(trade.pair),
        side=json.dumps(trade.side),
        price=f"{Decimal(repr(trade.price)):f}",
        qty=f"{Decimal(repr(trade.qty)):f}",
        ord_type=json.dumps(trade.ord_type),
        trade_id=str(trade.trade_id),
        timestamp=json.dumps(stamp),
    )


def _utc(seconds: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415  # used here only

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@given(st.lists(TRADES, max_size=5))
def test_well_formed_frames_come_back_exactly(trades: list[Trade]) -> None:
    raw = frame(*map(_wire, trades))
    decoded = decode_frame(raw, PAIRS, NOW_NS)
    assert decoded.trades == trades
    assert not decoded.refusals
    # The careful path reads what the fast path reads.
    assert _decode_loose(raw.encode(), PAIRS, NOW_NS, "kraken").trades == trades


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
FIELDS = st.sampled_from(("symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp", "x"))
ROWS = st.dictionaries(FIELDS, VALUES | st.sampled_from(("BTC/USD", "buy", STAMP)))
KEYS = st.sampled_from(("channel", "type", "method", "result", "error", "success", "symbol", "req_id", "x"))
WORDS = st.sampled_from(("trade", "update", "snapshot", "status", "subscribe", "heartbeat", "pong"))


@settings(max_examples=150)
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.builds(
        lambda head, data: json.dumps(head | {"data": data}).encode(),
        st.dictionaries(KEYS, WORDS | VALUES),
        st.lists(ROWS | VALUES, max_size=4) | VALUES,
    )
    | st.lists(ROWS | VALUES, max_size=4).map(
        lambda rows: json.dumps({"channel": "trade", "type": "update", "data": rows}).encode()
    )
)
def test_no_input_raises_and_every_refusal_is_a_record(raw: bytes) -> None:
    decoded = decode_frame(raw, PAIRS, NOW_NS)
    assert decoded.trades or decoded.refusals or decoded.kind
    for refusal in decoded.refusals:
        assert refusal.reason in REASONS
        assert msgspec.json.encode(dead_letter(refusal, 1))


@pytest.mark.parametrize(
    ("raw", "kind", "expected"),
    [
        ('{"channel":"heartbeat"}', "heartbeat", {}),
        ('{"method":"pong","req_id":9,"time_in":"x"}', "pong", {"req_id": 9}),
        ('{"channel":"status","data":[{"system":"maintenance"}],"type":"update"}', "status", {"text": "maintenance"}),
        ('{"channel":"status","type":"update","data":[]}', "status", {"text": ""}),
        (
            '{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true,"req_id":3}',
            "ack",
            {"pairs": ["BTC/USD"], "req_id": 3},
        ),
        (
            '{"error":"Currency pair not supported XBT/USD","method":"subscribe","success":false,"symbol":"XBT/USD"}',
            "refused",
            {"pairs": ["XBT/USD"], "text": "Currency pair not supported XBT/USD", "req_id": None},
        ),
        ('{"error":"Exceeded msg rate"}', "error", {"text": "Exceeded msg rate"}),
        ('{"channel":"book","type":"update","data":[]}', "other", {"text": "book"}),
    ],
)
def test_other_frames_are_told_apart(raw: str, kind: str, expected: dict[str, Any]) -> None:
    decoded = decode_frame(raw, PAIRS, NOW_NS)
    assert decoded.kind == kind
    assert {name: getattr(decoded, name) for name in expected} == expected
