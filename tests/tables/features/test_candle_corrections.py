"""Both folds in a row: late trades and clocks correct candles, and the features are those of the corrected history."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.candles import CandleRules, PairCandles
from tables.features.catalog import CATALOG
from tables.features.fold import SILENCE_MS, PairFeatures, features_key
from tables.records import MINUTE_MS, TIMEFRAMES, Candle, Side, Trade
from tests.tables.features.conformance import folded, values_of

PAIR = "BTC/USD"
RULES = CandleRules()
REVISABLE_MS = RULES.retention_ms + RULES.lateness_ms
START_MS = 1_526_187_600_000
FUTURE_NS = 1 << 62
SIDES: tuple[Side, ...] = ("buy", "sell")


class Stage:
    """The candle fold and the six feature folds behind it, with their tables."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.candles: dict[tuple[str, int], Candle] = {}
        self.rows: dict[tuple[str, int], list[float]] = {}
        self.corrected = 0
        self.start()

    def start(self) -> None:
        self.fold = PairCandles(PAIR, RULES, self.table.get)
        self.features: dict[str, PairFeatures] = {
            name: PairFeatures(PAIR, name, REVISABLE_MS, self.table.get) for name in TIMEFRAMES
        }

    def stop(self) -> None:
        for name, fold in self.features.items():
            self.table[features_key(PAIR, name)] = fold.pack()

    def take(self, trades: list[Trade], now_ms: int | None = None) -> None:
        self.fold.apply(trades, FUTURE_NS)
        output = self.fold.settle(now_ms)
        assert not output.late
        assert not output.refused
        for timeframe, fold in self.features.items():
            candles = [candle for candle in output.candles if candle.timeframe == timeframe]
            rows = fold.apply_all(candles)
            assert not fold.too_old, (timeframe, candles[0].open_ms, [row.open_ms for row in rows])
            self.corrected += sum(candle.revision > 0 for candle in candles)
            self.candles |= {(timeframe, candle.open_ms): candle for candle in candles}
            self.rows |= {(timeframe, row.open_ms): values_of(CATALOG, row.values) for row in rows}
        if output.row is not None:
            self.table[PAIR.encode()] = output.row


@settings(max_examples=30, deadline=None, print_blob=True)
@given(st.integers(0, 1_000_000), st.integers(20, 120))
def test_features_are_those_of_the_final_candles(seed: int, trades: int) -> None:
    stage = Stage()
    chance = random.Random(seed)
    now_ms = newest_ms = START_MS
    for trade_id in range(1, trades):
        # Mostly seconds, sometimes a silence that the clock fills, as long as it may.
        now_ms += chance.choice([500, 5_000, 40_000, 70_000, 400_000, SILENCE_MS - 1_000_000])
        if chance.random() < 0.7:
            stage.take([], now_ms)
        late_ms = chance.choice([0, 0, 0, 1_000, 60_000, 300_000, REVISABLE_MS])
        # As late as the candle fold takes it: measured from the newest trade, not from the clock.
        at_ms = max(START_MS, newest_ms - late_ms) if late_ms else now_ms
        newest_ms = max(newest_ms, at_ms)
        price, qty = round(100 + chance.gauss(0, 1), 2), round(chance.uniform(0.001, 5), 8)
        stage.take([Trade(PAIR, trade_id, at_ms * 1_000_000, price, qty, chance.choice(SIDES))])
        if chance.random() < 0.1:
            stage.stop()
            stage.start()
    for timeframe in TIMEFRAMES:
        final = [stage.candles[key] for key in sorted(stage.candles) if key[0] == timeframe]
        if final:
            got = [stage.rows[key] for key in sorted(stage.rows) if key[0] == timeframe]
            np.testing.assert_array_equal(np.array(got), folded(CATALOG, final), timeframe)


def test_trade_that_was_missed_is_taken_hours_later() -> None:
    stage = Stage()
    price = 100.0
    for trade_id in range(1, 200):
        at_ms = START_MS + trade_id * MINUTE_MS
        price += 0.01 * (trade_id % 7 - 3)
        stage.take([Trade(PAIR, trade_id, at_ms * 1_000_000, round(price, 2), 1.0, "buy")])
    newest_ms = START_MS + 199 * MINUTE_MS
    for minute in range(1, SILENCE_MS // MINUTE_MS - 17):
        stage.take([], newest_ms + minute * MINUTE_MS)
    # The hole is seen when the pair trades again, and its trade comes first.
    stage.take([Trade(PAIR, 200, (newest_ms - 900_000) * 1_000_000, 90.0, 1.0, "sell")])
    assert stage.corrected > 100
    final = [stage.candles[key] for key in sorted(stage.candles) if key[0] == "1m"]
    assert min(candle.low for candle in final) == 90.0
    got = [stage.rows[key] for key in sorted(stage.rows) if key[0] == "1m"]
    np.testing.assert_array_equal(np.array(got), folded(CATALOG, final))
