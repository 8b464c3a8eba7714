"""The table row of a pair and timeframe: under 4 kB, and never read as what it is not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tables.features.catalog import CATALOG, Catalog
from tables.features.fold import PairFeatures, features_key
from tables.features.state import head
from tables.records import TIMEFRAMES, Candle
from tests.support.market import SCALES, market
from tests.tables.features.conformance import REVISABLE_MS, folded, values_of

PAIR = "BTC/USD"
LIMIT_BYTES = 4_096


def sizes(candles: list[Candle], timeframe: str) -> list[int]:
    fold = PairFeatures(PAIR, timeframe, REVISABLE_MS, dict[bytes, bytes]().get)
    found = []
    for candle in candles:
        fold.apply(candle)
        found.append(len(fold.pack()))
    return found


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_row_stays_under_4_kb_over_a_long_history(timeframe: str) -> None:
    largest = {}
    bars = 3_000 if timeframe == "1m" else 1_000
    for scale in SCALES:
        # Days without and with hours of silence, every second bar corrected once or many times.
        for silences in (0, 20):
            candles = [
                msgspec.structs.replace(candle, revision=at % 2 * (at % 200))
                for at, candle in enumerate(market(bars, scale, timeframe=timeframe, silences=silences))
            ]
            largest[scale, silences] = max(sizes(candles, timeframe))
    print(f"{timeframe}: at most {max(largest.values())} bytes {largest}")
    assert max(largest.values()) < LIMIT_BYTES


def test_row_stays_under_4_kb_where_all_is_at_its_largest() -> None:
    # Every minute with more trades than two bytes count and corrected often, then silence for as long as it is kept.
    price = 60_000.1
    busy = [
        msgspec.structs.replace(candle, trades=100_000 + at, revision=200, source="replay")
        for at, candle in enumerate(market(200, price, silences=0))
    ]
    silent = [
        msgspec.structs.replace(
            busy[-1],
            open_ms=busy[-1].open_ms + 60_000 * (at + 1),
            **dict.fromkeys(("open", "high", "low", "close", "vwap"), busy[-1].close),
            **dict.fromkeys(("volume", "quote_volume", "buy_volume"), 0.0),
            trades=0,
            synthetic=True,
            revision=100,
        )
        for at in range(1_000)
    ]
    found = sizes([*busy, *silent], "1m")
    print(f"at most {max(found)} bytes, {found[199]} before the silence, {found[-1]} at its end")
    assert max(found) < LIMIT_BYTES


def test_row_holds_the_bits_of_every_float() -> None:
    candles = market(300, 1.2e-5)
    table: dict[bytes, bytes] = {}
    for stop in range(1, 300, 7):
        fold = PairFeatures(PAIR, "1m", REVISABLE_MS, dict[bytes, bytes]().get)
        for candle in candles[:stop]:
            fold.apply(candle)
        table[features_key(PAIR, "1m")] = fold.pack()
        again = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
        assert again.pack() == table[features_key(PAIR, "1m")]
        assert again.apply(candles[stop]) == fold.apply(candles[stop])


def old_row() -> bytes:
    """Give a row of format 1: the hash as text, and full bars."""
    bar = (1_700_006_400_000, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 0, False, 1.0, "sim")
    return msgspec.msgpack.encode((CATALOG.feature_set, 500, 1, [], [bar] * 62))


def of_other_features() -> bytes:
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, dict[bytes, bytes]().get, Catalog(CATALOG.indicators[1:]))
    for candle in market(200, 100.0):
        fold.apply(candle)
    return fold.pack()


def of_other_format() -> bytes:
    return bytes([head(CATALOG)[0] + 1]) + head(CATALOG)[1:] + b"whatever comes then"


@pytest.mark.parametrize("make", [old_row, of_other_features, of_other_format])
def test_row_of_another_format_or_of_other_features_starts_over(make: object) -> None:
    assert callable(make)
    table = {features_key(PAIR, "1m"): make()}
    candles = market(150, 100.0)
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    assert fold.started_over
    rows = [row for candle in candles for row in fold.apply(candle)]
    assert [row.bars for row in rows] == list(range(1, 151))
    np.testing.assert_array_equal(np.array([values_of(CATALOG, row.values) for row in rows]), folded(CATALOG, candles))
    table[features_key(PAIR, "1m")] = fold.pack()
    assert not PairFeatures(PAIR, "1m", REVISABLE_MS, table.get).started_over


def test_damaged_row_is_no_state() -> None:
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, dict[bytes, bytes]().get)
    for candle in market(150, 100.0):
        fold.apply(candle)
    row = fold.pack()
    for size in (len(row) - 1, len(row) // 2, 20, len(head(CATALOG))):
        with pytest.raises(msgspec.DecodeError):
            PairFeatures(PAIR, "1m", REVISABLE_MS, {features_key(PAIR, "1m"): row[:size]}.get)
