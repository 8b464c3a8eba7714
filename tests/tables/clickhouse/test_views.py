"""Candles of any length from the minutes, and the views of quality."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tables.clickhouse import rows
from tables.records import MINUTE_MS, Candle
from tests.support.samples import START_MS, candle, dead_letter

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

pytestmark = pytest.mark.component

ANY = (
    "SELECT toUnixTimestamp64Milli(window), open, high, low, close, volume, quote_volume, buy_volume, trades, vwap, "
    "first_trade_id, last_trade_id, revision, synthetic, minutes, complete FROM candles_any(pair = {pair:String}, "
    "seconds = {seconds:UInt32}, from_ms = {from_ms:Int64}, to_ms = {to_ms:Int64}) ORDER BY window"
)


def minutes(count: int, seed: int) -> list[Candle]:
    """Make minutes of which a third is silent, and some are corrected."""
    draw = random.Random(seed)
    made, price, trade = [], 100.0, 1
    for at in range(count):
        if draw.random() < 1 / 3:
            flat: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close", "vwap"), price)
            nothing: dict[str, Any] = {"volume": 0.0, "quote_volume": 0.0, "buy_volume": 0.0, "trades": 0}
            made.append(candle(at, **flat, **nothing, first_trade_id=-1, last_trade_id=-1, synthetic=True))
            continue
        prices = [price + draw.uniform(-3, 3) for _ in range(4)]
        price, volume, trades = prices[-1], draw.uniform(0.1, 2), draw.randint(1, 9)
        made.append(
            candle(
                at,
                open=prices[0],
                close=price,
                high=max(prices),
                low=min(prices),
                volume=volume,
                quote_volume=volume * prices[1],
                buy_volume=volume / 3,
                vwap=prices[1],
                trades=trades,
                first_trade_id=trade,
                last_trade_id=trade + trades - 1,
                revision=draw.choice((0, 0, 2)),
            )
        )
        trade += trades
    return made


def expected(made: list[Candle], seconds: int) -> list[tuple[float, ...]]:
    """Fold the minutes as the stream folds trades: flat minutes have no price of their own."""
    windows: dict[int, list[Candle]] = {}
    for one in made:
        windows.setdefault(one.open_ms // (seconds * 1000) * seconds * 1000, []).append(one)
    found: list[tuple[float, ...]] = []
    for open_ms, all_of_it in sorted(windows.items()):
        real = [one for one in all_of_it if one.trades] or all_of_it
        volume, quote = sum(one.volume for one in real), sum(one.quote_volume for one in real)
        found.append(
            (
                open_ms,
                real[0].open,
                max(one.high for one in real),
                min(one.low for one in real),
                real[-1].close,
                volume,
                quote,
                sum(one.buy_volume for one in real),
                sum(one.trades for one in real),
                quote / volume if volume else real[-1].close,
                real[0].first_trade_id,
                real[-1].last_trade_id,
                sum(one.revision for one in all_of_it),
                all(one.synthetic for one in all_of_it),
                len(all_of_it),
                len(all_of_it) * 60 == seconds,
            )
        )
    return found


@pytest.mark.parametrize("seconds", [60, 120, 420, 1800, 86_400])
def test_candles_of_any_length_are_what_the_minutes_fold_into(store_client: Client, seconds: int) -> None:
    made = minutes(400, seed=seconds)
    old = candle(5, high=9e9, as_of_ms=0)  # superseded: nobody may see it
    now = [candle(at, pair="ETH/USD") for at in range(3)]
    rows.insert_candles(store_client, [old, *now], "old")
    newer = [msgspec.structs.replace(one, as_of_ms=9) for one in made]
    rows.insert_candles(store_client, newer, "new")
    everything = {"pair": "BTC/USD", "seconds": seconds, "from_ms": 0, "to_ms": START_MS * 2}
    found = store_client.query(ANY, parameters=everything).result_rows
    assert [row[0] for row in found] == [row[0] for row in expected(made, seconds)]
    for row, wanted in zip(found, expected(made, seconds), strict=True):
        assert row == pytest.approx(wanted, rel=1e-12)


def test_a_start_within_a_window_gives_the_whole_window(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(at) for at in range(10)], "a")
    asked = {"pair": "BTC/USD", "seconds": 300, "from_ms": START_MS + 7 * MINUTE_MS, "to_ms": START_MS * 2}
    found = store_client.query(ANY, parameters=asked).result_rows
    assert [(row[0], row[-2], row[-1]) for row in found] == [(START_MS + 5 * MINUTE_MS, 5, True)]


def test_a_length_that_is_not_of_minutes_is_refused(store_client: Client) -> None:
    rows.insert_candles(store_client, [candle(0)], "a")
    asked = {"pair": "BTC/USD", "seconds": 90, "from_ms": 0, "to_ms": START_MS * 2}
    with pytest.raises(DatabaseError, match="multiple of 60"):
        store_client.query(ANY, parameters=asked)


def test_quality_counts_each_candle_once_with_its_last_revision(store_client: Client) -> None:
    said = [
        candle(0),
        candle(1, synthetic=True, trades=0, closed_by="timer"),
        candle(2, revision=0, as_of_ms=1),
        candle(2, revision=3, as_of_ms=2),
        candle(60),
        candle(0, timeframe="5m", revision=7),
    ]
    for at, one in enumerate(said):  # one insert each: within one insert the engine itself drops what is superseded
        rows.insert_candles(store_client, [one], f"a{at}")
    found = store_client.query(
        "SELECT candles, synthetic, revised, corrections, closed_by_timer, trades FROM candle_quality ORDER BY hour"
    ).result_rows
    assert found == [(3, 1, 1, 3, 1, 6), (1, 0, 0, 0, 0, 3)]
    letters = [dead_letter(), dead_letter(offset=78), dead_letter(offset=78)]
    for at, letter in enumerate(letters):
        rows.insert_dead_letters(store_client, [letter], f"b{at}")
    assert store_client.query("SELECT stage, reason, letters FROM dead_letter_hours").result_rows == [
        ("candles", "price-not-positive", 2)
    ]
