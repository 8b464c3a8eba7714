"""Every recorded payload goes through the decoders, and every line is accounted for."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.trades.exchange import Cursor
from agents.trades.exchanges.kraken import decode_asset_pairs, decode_frame, decode_page

ROOT = Path(os.environ.get("TICKCAST_SHARED_DATA", Path(__file__).parents[4] / ".." / "shared" / "data"))
FOLDER = ROOT / "kraken_payloads"
NOW_NS = 1_900_000_000_000_000_000
PAIRS = frozenset(("BTC/USD", "BTC/USDT", "MATIC/USD"))

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"recorded payloads are not at {FOLDER} (TICKCAST_SHARED_DATA)"
)


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


def kinds(payloads: list[dict[str, Any]]) -> tuple[Counter[str], int]:
    count: Counter[str] = Counter()
    trades = 0
    for payload in payloads:
        decoded = decode_frame(payload["raw"], PAIRS, NOW_NS)
        count[decoded.kind] += 1
        trades += len(decoded.trades)
        assert decoded.kind == "malformed" or not decoded.refusals
    return count, trades


def test_every_recorded_v2_frame_is_understood() -> None:
    count, trades = kinds(lines("ws_v2_kraken-async-rs.jsonl"))
    assert count.total() == 63
    assert trades == 4
    # Malformed: 17 REST errors, which are no frames, and one line with source code around its frame.
    assert count == {
        "other": 32,
        "malformed": 18,
        "ack": 1,
        "error": 6,
        "trades": 2,
        "heartbeat": 1,
        "status": 1,
        "refused": 1,
        "pong": 1,
    }


def test_every_transcribed_v2_frame_is_understood() -> None:
    payloads = lines("transcribed_ws_v2_and_rest.jsonl")
    count, trades = kinds([payload for payload in payloads if payload["transport"] == "ws_v2"])
    assert trades == 7
    assert count == {"status": 6, "ack": 2, "other": 2, "heartbeat": 1, "trades": 5, "error": 1} | {"refused": 4 + 1}


def test_every_transcribed_rest_body_is_understood() -> None:
    payloads = [one for one in lines("transcribed_ws_v2_and_rest.jsonl") if one["transport"] == "rest"]
    pages = {one["kind"]: decode_page(one["raw"].encode(), "BTC/USD", NOW_NS) for one in payloads}
    held = {kind: (len(page.trades), len(page.refusals)) for kind, page in pages.items() if not page.error}
    assert held == {
        "Trades_since_fractional_seconds": (5, 0),
        "Trades_since_nanoseconds": (5, 0),
        "Trades_trade_id_zero_fragment": (0, 3),
        "Trades_same_timestamp_fragment": (4, 0),
    }
    patient = {kind for kind, page in pages.items() if page.error and page.retriable}
    assert patient == {
        "error_public_rate_limit",
        "error_rate_limit",
        "error_throttled",
        "error_unavailable",
        "error_unavailable_string_not_array",
        "error_busy",
        "malformed_no_pair_key",
    }
    assert {kind for kind, page in pages.items() if page.error} - patient == {
        "error_unknown_pair",
        "error_invalid_arguments",
        "error_with_empty_result",
    }


def test_a_recorded_page_of_2025_is_gapless_and_exact() -> None:
    (payload,) = (
        one for one in lines("nautilus_kraken_spot_test_data.jsonl") if one["path"].endswith("http_trades.json")
    )
    page = decode_page(payload["raw"].encode(), "BTC/USDT", NOW_NS)
    assert [trade.trade_id for trade in page.trades] == list(range(10_218_208, 10_219_208))
    assert page.trades[0].ts_ns == 1_762_795_433_971_744_500
    assert page.next == Cursor(10_219_208, 1_762_820_035_982_277_754)
    assert not page.refusals


def test_the_other_recorded_fixtures_are_no_trades_and_do_no_harm() -> None:
    payloads = lines("nautilus_kraken_spot_test_data.jsonl")
    frames = [one for one in payloads if "/ws_" in one["path"]]
    count, trades = kinds(frames)
    assert (count.total(), trades) == (19, 2)
    assert count["malformed"] == 0
    bodies = [one for one in payloads if "/http_" in one["path"] and not one["path"].endswith("http_trades.json")]
    assert len(frames) + len(bodies) + 1 == len(payloads) == 35
    for one in bodies:
        assert not decode_page(one["raw"].encode(), "BTC/USDT", NOW_NS).trades


def test_pages_of_2020_without_ids_are_refused_row_by_row() -> None:
    payloads = lines("rest_noobit_cassettes_2020.jsonl")
    pages = [decode_page(one["raw"].encode(), "BTC/USD", NOW_NS) for one in payloads if "/Trades" in one["uri"]]
    assert [(page.rows, len(page.trades), page.error) for page in pages] == [(1_000, 0, "")] * 5
    assert {refusal.reason for page in pages for refusal in page.refusals} == {"missing-field"}
    others = [one for one in payloads if "/Trades" not in one["uri"]]
    assert len(others) == 17
    for one in others:
        assert not decode_page(one["raw"].encode(), "BTC/USD", NOW_NS).trades


def test_recorded_lists_of_pairs_name_the_usual_ones() -> None:
    (old,) = lines("rest_AssetPairs_cryptofeed_2021-04-17.jsonl")
    names, error = decode_asset_pairs(old["raw"].encode())
    assert not error
    assert (names["BTC/USD"], names["DOGE/USD"], names["ADA/EUR"]) == ("XBTUSD", "XDGUSD", "ADAEUR")
    assert len(names) == 293  # of 304: dark pools have no name on the socket


def test_frames_of_the_old_protocol_are_refused_not_misread() -> None:
    session = lines("ws_v1_cryptofeed_session_2021-04-17_trade+ticker.jsonl")
    quoted = lines("ws_v1_gocryptotrader_wsHandleData.jsonl")
    count, trades = kinds([{"raw": one.get("data", "")} for one in session] + quoted)
    assert (count, trades) == ({"malformed": 113 + 12}, 0)


def bin_of(line: dict[str, Any]) -> str:
    """Decode one line as what it is, and say what became of it: nothing may fall between the decoders."""
    raw = str(line.get("raw", line.get("data", "")))
    is_body = line.get("transport") == "rest" or "uri" in line or "/http_" in str(line.get("path", ""))
    if "AssetPairs" in str(line.get("url", line.get("uri", ""))):
        names, error = decode_asset_pairs(raw.encode())
        return "listing" if names and not error else "listing refused"
    if is_body:
        page = decode_page(raw.encode(), "BTC/USDT", NOW_NS)
        assert len(page.trades) + len(page.refusals) == page.rows
        if page.error:
            return "asked again" if page.retriable else "refused for good"
        return "page" if page.trades else "page of refusals"
    decoded = decode_frame(raw, PAIRS, NOW_NS)
    if decoded.kind == "trades":
        assert len(decoded.trades) + len(decoded.refusals) == len(json.loads(raw)["data"])
    return decoded.kind


def test_every_line_of_every_file_is_in_one_bin() -> None:
    bins = {file.name: Counter(map(bin_of, lines(file.name))) for file in FOLDER.iterdir()}
    assert sum(count.total() for count in bins.values()) == 284
    assert bins == {
        "nautilus_kraken_spot_test_data.jsonl": {
            "other": 16,
            "asked again": 14,
            "page": 1,
            "page of refusals": 1,
            "trades": 1,
            "error": 1,
            "pong": 1,
        },
        "rest_AssetPairs_cryptofeed_2021-04-17.jsonl": {"listing": 1},
        "rest_noobit_cassettes_2020.jsonl": {"page of refusals": 12, "asked again": 8, "listing": 2},
        "transcribed_ws_v2_and_rest.jsonl": {
            "asked again": 7,
            "status": 6,
            "trades": 5,
            "refused": 5,
            "page": 3,
            "refused for good": 3,
            "ack": 2,
            "other": 2,
            "malformed": 2,
            "heartbeat": 1,
            "error": 1,
            "page of refusals": 1,
        },
        "ws_v1_cryptofeed_session_2021-04-17_trade+ticker.jsonl": {"malformed": 113},
        "ws_v1_gocryptotrader_wsHandleData.jsonl": {"malformed": 12},
        "ws_v2_kraken-async-rs.jsonl": {
            "other": 32,
            "malformed": 18,
            "error": 6,
            "trades": 2,
            "heartbeat": 1,
            "status": 1,
            "refused": 1,
            "pong": 1,
            "ack": 1,
        },
    }
