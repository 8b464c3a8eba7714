"""Both folds in a row: late trades and clocks correct candles, and the features are those of the corrected history."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tables.candles import CandleRules, PairCandles
from tables.features.catalog import CATALOG
from tables.features.fold import SILENCE_MS, PairFeatures, features_key
from tables.records import MINUTE_MS, TIMEFRAMES, Candle, Side, Trade
from tests.support.candle_fold import NOTHING
from tests.support.market import market
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
        self.given: list[tuple[str, int]] = []
        """Keys of all rows, in order."""
        self.start()

    def start(self) -> None:
        self.fold = PairCandles(PAIR, RULES, self.table.get)
        self.features: dict[str, PairFeatures] = {
            name: PairFeatures(PAIR, name, REVISABLE_MS, self.table.get) for name in TIMEFRAMES
        }

    def stop(self) -> None:
        for name, fold in self.features.items():
            self.table[features_key(PAIR, name)] = fold.pack()

    def assert_features(self) -> None:
        """The features are those of the final candles, as if there had never been others."""
        for timeframe in TIMEFRAMES:
            final = [self.candles[key] for key in sorted(self.candles) if key[0] == timeframe]
            if final:
                got = [self.rows[key] for key in sorted(self.rows) if key[0] == timeframe]
                np.testing.assert_array_equal(np.array(got), folded(CATALOG, final), timeframe)

    def take(self, trades: list[Trade], now_ms: int | None = None) -> None:
        self.fold.apply(trades, FUTURE_NS)
        output = self.fold.settle(now_ms)
        assert not output.late
        assert not output.refused
        for timeframe, fold in self.features.items():
            candles = [candle for candle in output.candles if candle.timeframe == timeframe]
            rows = fold.apply_all(candles)
            assert not fold.too_old, (timeframe, candles[0].open_ms, [row.open_ms for row in rows])
            self.given += [(timeframe, row.open_ms) for row in rows]
            self.candles |= {(timeframe, candle.open_ms): candle for candle in candles}
            self.rows |= {(timeframe, row.open_ms): values_of(CATALOG, row.values) for row in rows}
        if output.row is not None:
            self.table[PAIR.encode()] = output.row


@settings(max_examples=12, deadline=None, print_blob=True)
@given(st.integers(0, 1_000_000), st.integers(20, 120))
def test_features_are_those_of_the_final_candles(seed: int, trades: int) -> None:
    stage = Stage()
    chance = random.Random(seed)
    now_ms = newest_ms = START_MS
    for trade_id in range(1, trades):
        # Mostly seconds, sometimes a silence that the clock fills, no longer than the ring reaches behind it.
        now_ms += chance.choice([500, 5_000, 40_000, 70_000, 400_000, SILENCE_MS])
        now_ms = min(now_ms, newest_ms + SILENCE_MS)
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
    stage.assert_features()


def test_trade_that_was_missed_corrects_every_silent_minute_behind_it_once() -> None:
    stage = Stage()
    price = 100.0
    for trade_id in range(1, 200):
        at_ms = START_MS + trade_id * MINUTE_MS
        price += 0.01 * (trade_id % 7 - 3)
        stage.take([Trade(PAIR, trade_id, at_ms * 1_000_000, round(price, 2), 1.0, "buy")])
    newest_ms = START_MS + 199 * MINUTE_MS
    stage.take([], newest_ms + SILENCE_MS)
    silent = SILENCE_MS // MINUTE_MS - 2
    before = dict(stage.rows)
    stage.given.clear()
    # The hole is seen when the pair trades again, and its trade comes first.
    stage.take([Trade(PAIR, 200, (newest_ms + 30_000) * 1_000_000, 90.0, 1.0, "sell")])
    minutes = [key for key in stage.given if key[0] == "1m"]
    assert minutes == [("1m", newest_ms + number * MINUTE_MS) for number in range(silent + 1)]
    assert max(Counter(stage.given).values()) == 1
    assert {timeframe for timeframe, _ in stage.given} == {"1m", "5m", "15m", "1h"}
    assert all(stage.rows[key] != before[key] for key in minutes)
    assert all(stage.rows[key] == before[key] for key in before.keys() - set(stage.given))
    stage.assert_features()


@settings(max_examples=40, deadline=None, print_blob=True)
@given(st.integers(0, 1 << 32))
def test_run_gives_the_last_word_of_what_one_by_one_gives(seed: int) -> None:
    """The same rows in the end, the same state, and no row twice where time rises."""
    chance = random.Random(seed)
    alone, together = (PairFeatures(PAIR, "1m", REVISABLE_MS, NOTHING.get) for _ in range(2))
    history = market(60, 100.0)
    for as_of_ms in range(1, 30):
        # New candles, repeats and corrections, some of them of an older view than the one in the ring.
        picked = chance.sample(range(max(0, as_of_ms - 4), as_of_ms + 4), 5)
        if chance.random() < 0.7:
            picked.sort()
        part = [
            replace(
                history[at],
                close=chance.choice([history[at].close, history[at].low]),
                as_of_ms=as_of_ms - chance.choice([0, 0, 0, 1, 3]),
            )
            for at in picked
        ]
        singly = {row.open_ms: row for candle in part for row in alone.apply(candle)}
        rows = together.apply_all(part)
        last = {row.open_ms: row for row in rows}
        assert {at: replace(row, as_of_ms=0) for at, row in last.items()} == {
            at: replace(row, as_of_ms=0) for at, row in singly.items()
        }
        # A repeat in the run may raise the version of rows behind it, which changes nothing.
        assert all(last[at].as_of_ms >= row.as_of_ms for at, row in singly.items())
        if picked == sorted(picked):
            assert len(rows) == len(singly)
        assert together.pack() == alone.pack()
