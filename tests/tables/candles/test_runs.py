"""Trades in a run are folded by columns, and that changes nothing."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tables.candles import FoldOutput, PairCandles
from tables.candles.runs import BLOCK_TRADES, EXACT_BELOW, as_run
from tables.records import Trade
from tests.support.candle_fold import FOREVER_NS, NOTHING, PAIR, RULES, SIDES, START_NS, trade


def in_order(chance: random.Random) -> list[Trade]:
    step_ms = chance.choice([[0, 1, 40], [0, 900, 3_000], [500, 30_000, 200_000]])
    at_ms, feed = 0, []
    for number in range(1, chance.randrange(30, 400)):
        at_ms += chance.choice(step_ms)
        # Eight decimals to the last bit: with more there is no run.
        qty = round(chance.expovariate(1) + 1e-8, 8)
        feed.append(trade(number, at_ms, round(100 * chance.gauss(1, 0.01), 2), qty, chance.choice(SIDES)))
    return feed


@settings(max_examples=300, deadline=None, print_blob=True)
@given(st.integers(0, 1 << 32))
def test_run_of_trades_does_what_they_do_one_by_one(seed: int) -> None:
    """Long stretches in order, broken by holes, repeats, disorder, faults and odd numbers, at any cut."""
    chance = random.Random(seed)
    feed = in_order(chance)
    at_ms = (feed[-1].ts_ns - START_NS) // 1_000_000
    for _ in range(chance.choice([0, 0, 1, 3])):
        at, other = chance.randrange(len(feed)), chance.randrange(len(feed))
        one = feed[at]
        feed[at] = chance.choice(
            [
                feed[other],  # repeated, and a hole where it stood
                trade(one.trade_id, 0, one.price),  # far too late, or merely late
                trade(one.trade_id, at_ms + 86_400_000, one.price),  # beyond the limit
                trade(one.trade_id, at_ms, float("nan")),
                Trade("ETH/USD", one.trade_id, one.ts_ns, one.price, one.qty, one.side),
                trade(one.trade_id, at_ms, 7.0975855899999996),
                trade(one.trade_id, at_ms, 1.0, 133_456_789.12345679),
            ]
        )
    limit_ns = START_NS + (at_ms + 60_000) * 1_000_000
    slow, quick = (PairCandles(PAIR, RULES, NOTHING.get) for _ in range(2))
    at = 0
    while at < len(feed):
        size = chance.choice([1, 30, 200, 2_000])
        for one in feed[at : at + size]:
            slow.apply([one], limit_ns)
        quick.apply(feed[at : at + size], limit_ns)
        expected, output = slow.settle(), quick.settle()
        for name in FoldOutput.__slots__:
            assert repr(getattr(output, name)) == repr(getattr(expected, name)), name
        at += size


def test_run_in_order_is_folded_by_columns() -> None:
    """Or else the test above would compare a path with itself."""
    assert as_run(in_order(random.Random(1)), PAIR, 1, 0, FOREVER_NS) is not None
    history = [trade(number, number * 900, 100.25, 0.5) for number in range(1, 1_000)]
    run = as_run(history, PAIR, 1, 0, FOREVER_NS)
    assert run is not None
    minute = run.minutes[0]  # of 66 trades
    assert (minute.begin, minute.end, minute.open_ms, minute.high) == (0, 66, START_NS // 1_000_000, 100.25)
    quantity = 66 * 50_000_000
    assert (minute.volume, minute.buy, minute.quote) == (quantity, quantity, quantity * 10_025_000_000)
    assert as_run(history, PAIR, 2, 0, FOREVER_NS) is None
    assert as_run(history, PAIR, 1, history[0].ts_ns + 1, FOREVER_NS) is None
    assert as_run(history, PAIR, 1, 0, history[-1].ts_ns - 1) is None
    assert as_run(history[::-1], PAIR, 999, 0, FOREVER_NS) is None
    assert as_run(history, "ETH/USD", 1, 0, FOREVER_NS) is None
    assert as_run([trade(1, 0, float("inf"))], PAIR, 1, 0, FOREVER_NS) is None
    far = Trade(PAIR, 1, 1 << 63, 1.0, 1.0, "buy")  # beyond the integers of an array, and within a limit that allows it
    assert as_run([far], PAIR, 1, 0, 1 << 70) is None


def test_sums_of_the_largest_block_are_exact() -> None:
    """Products of two large numbers and sums of them outgrow 64 bits."""
    units = int(EXACT_BELOW) * 10**8 - 100
    run = as_run([trade(number, 0, units / 1e8, units / 1e8) for number in range(1, 1_025)], PAIR, 1, 0, FOREVER_NS)
    assert run is not None
    (minute,) = run.minutes
    assert (BLOCK_TRADES, minute.volume, minute.quote) == (1_024, 1_024 * units, 1_024 * units * units)
