"""The candle fold against a batch recompute in plain Python, under every disorder that a feed can have."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tables.candles import CandleRules, FoldOutput, PairCandles
from tables.candles.ranges import add_id, add_range, count_ids, has_id, holes
from tables.candles.runs import as_run
from tables.candles.state import state_key
from tables.records import Candle, Side, Trade
from tests.support.reference import differences

PAIR = "BTC/USD"
NOTHING: dict[bytes, bytes] = {}
START_NS = 1_526_187_600_000 * 1_000_000
FOREVER_NS = 1 << 62
SIDES: tuple[Side, ...] = ("buy", "sell")
RULES = CandleRules(lateness_ms=2_000, retention_ms=900_000)


class Table(dict[bytes, bytes]):
    """A table that survives a crash of the fold."""

    def write(self, row: bytes | None) -> None:
        if row is not None:
            self[state_key(PAIR)] = row


def trade(trade_id: int, at_ms: int, price: float = 100.0, qty: float = 1.0, side: Side = "buy") -> Trade:
    return Trade(PAIR, trade_id, START_NS + at_ms * 1_000_000, price, qty, side)


def finish(fold: PairCandles, candles: dict[tuple[str, int], Candle], table: Table) -> None:
    """End of recorded history: the idle timer closes what is open."""
    collect(fold, candles, table, now_ms=START_NS // 1_000_000 + 400 * 86_400_000)


def collect(fold: PairCandles, candles: dict[tuple[str, int], Candle], table: Table, now_ms: int | None = None) -> None:
    output = fold.settle(now_ms)
    for candle in output.candles:
        known = candles.get((candle.timeframe, candle.open_ms))
        assert known is None or candle.revision >= known.revision
        candles[candle.timeframe, candle.open_ms] = candle
    table.write(output.row)


def check(trades: Iterable[Trade], candles: dict[tuple[str, int], Candle]) -> None:
    assert differences(trades, candles) == {"missing": [], "extra": [], "different": []}


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
    candles: dict[tuple[str, int], Candle] = {}
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
    candles: dict[tuple[str, int], Candle] = {}
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
    candles: dict[tuple[str, int], Candle] = {}
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


@settings(max_examples=300, deadline=None, print_blob=True)
@given(st.integers(0, 1 << 32))
def test_run_of_trades_does_what_they_do_one_by_one(seed: int) -> None:
    """Long stretches in order, broken by holes, repeats, disorder, faults and odd numbers, at any cut."""
    chance = random.Random(seed)
    step_ms = chance.choice([[0, 1, 40], [0, 900, 3_000], [500, 30_000, 200_000]])
    at_ms, feed = 0, []
    for number in range(1, chance.randrange(30, 400)):
        at_ms += chance.choice(step_ms)
        qty = round(chance.expovariate(1), 8) + 1e-8
        feed.append(trade(number, at_ms, round(100 * chance.gauss(1, 0.01), 2), qty, chance.choice(SIDES)))
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
    history = [trade(number, number * 900, 100.25, 0.5) for number in range(1, 2_000)]
    run = as_run(history, PAIR, 1, 0, FOREVER_NS)
    assert run is not None
    assert (run.price_units[7], run.qty_units[7], run.bought[7]) == (10_025_000_000, 50_000_000, True)
    assert as_run(history, PAIR, 2, 0, FOREVER_NS) is None
    assert as_run(history, PAIR, 1, history[0].ts_ns + 1, FOREVER_NS) is None
    assert as_run(history, PAIR, 1, 0, history[-1].ts_ns - 1) is None
    assert as_run(history[::-1], PAIR, 1_999, 0, FOREVER_NS) is None
    assert as_run(history, "ETH/USD", 1, 0, FOREVER_NS) is None
    assert as_run([trade(1, 0, float("inf"))], PAIR, 1, 0, FOREVER_NS) is None


def test_quantity_with_more_than_eight_decimals_counts_in_full() -> None:
    history = [trade(1, 0, 13.4567891234, 7.0975855899999996), trade(2, 1, 1.2e-7, 3.3), trade(3, 2, 64_000.1, 1e-8)]
    table = Table()
    candles: dict[tuple[str, int], Candle] = {}
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply(history, FOREVER_NS)
    finish(fold, candles, table)
    check(history, candles)


def test_amounts_beyond_eight_exact_decimals_add_up_to_the_last_bit() -> None:
    """Coins that cost next to nothing trade in amounts where a float no longer tells eight decimals apart."""
    amounts = [130643329.58688834, 154786370.35075772, 155966182.18847865]
    history = [trade(number, number, 1e-7, qty) for number, qty in enumerate(amounts, 1)]
    table = Table()
    candles: dict[tuple[str, int], Candle] = {}
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply(history, FOREVER_NS)
    finish(fold, candles, table)
    check(history, candles)


def test_replayed_trade_changes_nothing() -> None:
    table = Table()
    candles: dict[tuple[str, int], Candle] = {}
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply([trade(1, 0), trade(2, 1_000)], FOREVER_NS)
    fold.settle()
    fold.apply([trade(1, 0), trade(2, 1_000)], FOREVER_NS)
    output = fold.settle()
    assert (output.applied, output.duplicates, output.candles) == (0, 2, [])
    collect(fold, candles, table)


def test_duplicate_of_an_evicted_trade_is_a_duplicate_and_not_late() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    fold.apply([trade(1, 0), trade(2, 7_200_000)], FOREVER_NS)
    fold.settle()
    fold.apply([trade(1, 0)], FOREVER_NS)
    output = fold.settle()
    assert (output.duplicates, output.late) == (1, [])


def test_late_trade_revises_its_minute_and_the_larger_candles() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    fold.apply([trade(1, 0, 100.0), trade(3, 400_000, 101.0)], FOREVER_NS)
    first = {(candle.timeframe, candle.open_ms): candle for candle in fold.settle().candles}
    fold.apply([trade(2, 30_000, 120.0)], FOREVER_NS)
    revised = {(candle.timeframe, candle.open_ms): candle for candle in fold.settle().candles}
    start_ms = START_NS // 1_000_000
    assert first["1m", start_ms].revision == 0
    assert revised["1m", start_ms].revision == 1
    assert revised["1m", start_ms].close == 120.0
    assert revised["1m", start_ms + 60_000].close == 120.0
    assert revised["1m", start_ms + 60_000].synthetic
    assert revised["5m", start_ms].high == 120.0
    assert revised["5m", start_ms].revision == 1


def test_trade_older_than_the_state_goes_to_late() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    fold.apply([trade(1, 0), trade(9, 7_200_000), trade(2, 1_000)], FOREVER_NS)
    output = fold.settle()
    assert [late.trade.trade_id for late in output.late] == [2]
    assert output.applied == 2


def test_bad_trades_are_refused_with_a_reason_and_the_rest_goes_on() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    bad = [
        trade(2, 0, 0.0),
        trade(3, 0, -1.0),
        trade(4, 0, float("nan")),
        trade(5, 0, 1.0, float("inf")),
        trade(6, 0, 1.0, 0.0),
        trade(0, 0),
        trade(7, 9_000_000),
    ]
    fold.apply([trade(1, 0), *bad, trade(8, 10)], START_NS + 60_000 * 1_000_000)
    output = fold.settle()
    assert output.applied == 2
    assert [reason for _, reason in output.refused] == [
        "price-not-positive",
        "price-not-positive",
        "price-not-finite",
        "qty-not-finite",
        "qty-not-positive",
        "trade-id-not-positive",
        "future-timestamp",
    ]


def test_idle_live_pair_runs_on_with_the_clock() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    start_ms = START_NS // 1_000_000
    fold.apply([trade(1, 0)], FOREVER_NS)
    fold.settle()
    candles = fold.settle(now_ms=start_ms + 200_000).candles
    assert [(candle.timeframe, candle.synthetic, candle.closed_by) for candle in candles] == [
        ("1m", False, "timer"),
        ("1m", True, "timer"),
        ("1m", True, "timer"),
    ]


def test_silence_is_filled_no_longer_than_the_setting() -> None:
    rules = CandleRules(synthetic_gap_max_ms=120_000)
    fold = PairCandles(PAIR, rules, NOTHING.get)
    fold.apply([trade(1, 0), trade(2, 86_400_000)], FOREVER_NS)
    minutes = [candle for candle in fold.settle().candles if candle.timeframe == "1m"]
    assert [candle.synthetic for candle in minutes] == [False, True, True]


def test_state_of_a_long_replay_stays_small() -> None:
    table = Table()
    candles: dict[tuple[str, int], Candle] = {}
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


def _rest(fold: PairCandles, table: Table) -> dict[tuple[str, int], Candle]:
    candles: dict[tuple[str, int], Candle] = {}
    finish(fold, candles, table)
    return candles


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8))))
def test_ranges_are_a_set_of_ids(spans: list[tuple[int, int]]) -> None:
    ranges: list[int] = []
    ids: set[int] = set()
    for low, width in spans:
        if width == 0:
            assert add_id(ranges, low) == (low not in ids)
        else:
            add_range(ranges, low, low + width)
        ids |= set(range(low, low + width + 1))
        assert count_ids(ranges) == len(ids)
        assert all(has_id(ranges, one) == (one in ids) for one in range(75))
    missing = {one for low, high in holes(ranges) for one in range(low, high + 1)}
    assert missing == (set(range(min(ids), max(ids))) - ids if ids else set())
