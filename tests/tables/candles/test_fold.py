"""The candle fold against a batch recompute in plain Python, under every disorder that a feed can have."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tables.candles import PairCandles
from tables.candles.state import state_key
from tables.records import Candle, Trade
from tests.support.candle_fold import FOREVER_NS, PAIR, RULES, SIDES, Candles, Table, check, collect, finish, trade

# Within the retention (15 minutes) any order is allowed, so histories here span at most 14 minutes.
histories = st.lists(
    st.tuples(
        st.integers(0, 14 * 60_000 - 1),
        st.decimals("0.0001", "99999", places=4).map(float),
        st.decimals("0.00000001", "9999", places=8).map(float),
        st.sampled_from(SIDES),
    ),
    min_size=1,
    max_size=40,
).map(
    lambda rows: [
        trade(number, at_ms, price, qty, side) for number, (at_ms, price, qty, side) in enumerate(sorted(rows), 1)
    ]
)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.data(), histories)
def test_any_order_duplicates_and_restarts_give_the_candles_of_a_sorted_batch(
    data: st.DataObject, history: list[Trade]
) -> None:
    extra = data.draw(st.lists(st.sampled_from(history), max_size=20))
    feed = data.draw(st.permutations(history + extra))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(feed)), max_size=6)) | {0, len(feed)})
    table = Table()
    candles: Candles = {}
    fold = PairCandles(PAIR, RULES, table.get)
    for begin, end in pairwise(cuts):
        if data.draw(st.booleans()):
            fold = PairCandles(PAIR, RULES, table.get)
        if data.draw(st.booleans()):  # a crash after the table write: the chunk comes again
            fold.apply(feed[begin:end], FOREVER_NS)
            collect(fold, candles, table)
            fold = PairCandles(PAIR, RULES, table.get)
        fold.apply(feed[begin:end], FOREVER_NS)
        collect(fold, candles, table)
    finish(fold, candles, table)
    check(history, candles)


@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.data())
def test_long_history_in_order_equals_the_batch_for_any_split(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(0, 5_400_000), min_size=1, max_size=60))
    at_ms, history = 0, []
    for number, gap in enumerate(gaps, 1):
        at_ms += gap
        history.append(trade(number, at_ms, 100.0 + number % 7, number / 10, "buy" if number % 3 else "sell"))
    table = Table()
    candles: Candles = {}
    fold = PairCandles(PAIR, RULES, table.get)
    at = 0
    while at < len(history):
        size = data.draw(st.integers(1, 20))
        fold.apply(history[at : at + size], FOREVER_NS)
        collect(fold, candles, table)
        if data.draw(st.booleans()):
            fold = PairCandles(PAIR, RULES, table.get)
        at += size
    finish(fold, candles, table)
    check(history, candles)


@settings(max_examples=500, deadline=None, print_blob=True)
@given(st.integers(0, 1 << 32))
def test_crash_at_any_point_ends_in_the_candles_of_the_batch(seed: int) -> None:
    """What was sent before the crash stays sent; what was not committed comes again, cut differently."""
    chance = random.Random(seed)
    at_ms, history = 0, []
    for number in range(1, chance.randrange(2, 60)):
        at_ms += chance.choice([0, 100, 5_000, 70_000, 400_000, 2_000_000])
        history.append(trade(number, at_ms, 100.0 + number % 7, number / 10, "buy" if number % 3 else "sell"))
    feed = sorted(history, key=lambda one: one.ts_ns + chance.randrange(600_000) * 1_000_000)
    table = Table()
    candles: Candles = {}
    fold = PairCandles(PAIR, RULES, table.get)
    at = committed = 0
    while at < len(feed):
        size = chance.randrange(1, 9)
        fold.apply(feed[at : at + size], FOREVER_NS)
        output = fold.settle()
        candles |= {(candle.timeframe, candle.open_ms): candle for candle in output.candles}
        crash = chance.choice(["before the write", "after the write", "", ""])
        if crash != "before the write":
            table.write(output.row)
        at += size
        if crash:
            fold, at = PairCandles(PAIR, RULES, table.get), committed
        elif chance.random() < 0.5:
            committed = at
    finish(fold, candles, table)
    check(history, candles)


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.integers(0, 1 << 32))
def test_candles_and_revisions_follow_from_the_log_however_it_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    at_ms, history = 0, []
    for number in range(1, chance.randrange(2, 80)):
        at_ms += chance.choice([0, 100, 5_000, 70_000, 400_000, 2_000_000])
        history.append(trade(number, at_ms, 100.0 + number % 7, number / 10))
    feed = sorted(history, key=lambda one: one.ts_ns + chance.randrange(900_000) * 1_000_000)
    runs: list[list[Candle]] = []
    for largest in (1, 9, 1_000):
        table = Table()
        fold = PairCandles(PAIR, RULES, table.get)
        candles: list[Candle] = []
        at = 0
        while at < len(feed):
            size = chance.randint(1, largest)
            fold.apply(feed[at : at + size], FOREVER_NS)
            output = fold.settle()
            candles += output.candles
            table.write(output.row)
            if chance.random() < 0.3:
                fold = PairCandles(PAIR, RULES, table.get)
            at += size
        runs.append(candles)
    assert runs[0] == runs[1] == runs[2]


def test_state_of_a_long_replay_stays_small() -> None:
    table = Table()
    candles: Candles = {}
    fold = PairCandles(PAIR, RULES, table.get)
    for number in range(1, 5_000):
        fold.apply([trade(number, number * 30_000)], FOREVER_NS)
        collect(fold, candles, table)
    assert len(table[state_key(PAIR)]) < 6_000
    check(
        (trade(number, number * 30_000) for number in range(1, 5_000)),
        {
            **candles,
            **_rest(fold, table),
        },
    )


def _rest(fold: PairCandles, table: Table) -> Candles:
    candles: Candles = {}
    finish(fold, candles, table)
    return candles
