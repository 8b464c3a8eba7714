"""The candle fold as a state machine: any feed, any clock, any crash, and always the candles of a sorted batch.

What must come of each trade is told by a model of the log (`tests/support/candle_log.py`); each candle is compared with
the batch when it is published, and at the end all six timeframes are, as a reader of the topic has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tables.records import DAY_MS, MINUTE_MS, TIMEFRAME_MS, Trade
from tests.support.candle_log import row_of
from tests.support.candle_machine import HOUR_MS, MACHINE_RULES, PAIRS, OnePair, Partition
from tests.support.machines import run_machine
from tests.support.reference import differences

pairs = st.sampled_from(PAIRS)
some_pairs = st.sets(pairs, min_size=1)
SKEWS = (0, 0, 0, HOUR_MS, -HOUR_MS)
MAX_DAYS = 2


class CandleMachine(RuleBasedStateMachine):
    """Trades come in any order and cut; the worker folds, idles and dies."""

    def __init__(self) -> None:
        super().__init__()
        self.partition = Partition()
        self.days = 0

    def publish(self, pair: str, trades: Sequence[Trade], cut: int) -> None:
        self.partition.now_ms += 1
        for at in range(0, len(trades), cut):
            self.partition.append(pair, trades[at : at + cut])

    # The feed.

    @rule(
        pair=pairs,
        gaps_ms=st.lists(st.sampled_from([0, 1, 400, 1_999, 20_000, 61_000, 400_000]), min_size=1, max_size=8),
        turn=st.integers(-3, 3),
        missing=st.sampled_from([0, 0, 2, 3]),
        cut=st.integers(1, 8),
    )
    def trade(self, pair: str, gaps_ms: list[int], turn: int, missing: int, cut: int) -> None:
        """Trade in order, or with some trades first that came later, or with holes."""
        trades = []
        for gap_ms in gaps_ms:
            self.partition.now_ms += gap_ms
            trades.append(self.partition.trade(pair, self.partition.now_ms))
        held = trades[1::missing] if missing else []
        self.partition.pairs[pair].held += held
        rest = [trade for trade in trades if trade not in held]
        self.publish(pair, rest[turn:] + rest[:turn], cut)

    @rule(pair=pairs, count=st.sampled_from([30, 60]), gap_ms=st.sampled_from([0, 300, 4_000]))
    def burst(self, pair: str, count: int, gap_ms: int) -> None:
        """Trade so much that it is folded by columns."""
        trades = []
        for _ in range(count):
            self.partition.now_ms += gap_ms
            trades.append(self.partition.trade(pair, self.partition.now_ms))
        self.publish(pair, trades, count)

    @precondition(lambda self: any(one.held for one in self.partition.pairs.values()))
    @rule(pair=pairs, count=st.integers(1, 5), cut=st.integers(1, 5))
    def fill_holes(self, pair: str, count: int, cut: int) -> None:
        """Bring trades that were missed, by now perhaps too late."""
        one = self.partition.pairs[pair]
        filled, one.held = one.held[:count], one.held[count:]
        self.publish(pair, filled, cut)

    @precondition(lambda self: self.partition.log)
    @rule(back=st.integers(0, 1 << 16))
    def repeat(self, back: int) -> None:
        """Bring a whole envelope again, at once or long after."""
        entry = self.partition.log[-1 - back % len(self.partition.log)]
        self.publish(entry.pair, entry.trades, len(entry.trades))

    @rule(pair=pairs, before_ms=st.sampled_from([0, 1]), cut=st.integers(1, 3))
    def trade_at_the_edge_of_the_state(self, pair: str, before_ms: int, cut: int) -> None:
        """Trade when a minute is just too old, or will be a moment later, and bring trades of it and of the next."""
        partition = self.partition
        old_ms = MACHINE_RULES.lateness_ms + MACHINE_RULES.retention_ms
        partition.now_ms += MINUTE_MS - (partition.now_ms - old_ms) % MINUTE_MS
        times_ms = (partition.now_ms - before_ms, partition.now_ms - old_ms - 1, partition.now_ms - old_ms)
        self.publish(pair, [partition.trade(pair, ts_ms) for ts_ms in times_ms], cut)

    @rule(pair=pairs, ago_ms=st.sampled_from([10 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS, 5 * HOUR_MS]))
    def trade_long_ago(self, pair: str, ago_ms: int) -> None:
        newest_ms = self.partition.pairs[pair].model.newest_ns // 1_000_000
        if newest_ms:
            self.publish(pair, [self.partition.trade(pair, newest_ms - ago_ms)], 1)

    @rule(pair=pairs, ahead_ms=st.sampled_from([-1, 0, 1, HOUR_MS, 30 * DAY_MS]))
    def trade_in_the_future(self, pair: str, ahead_ms: int) -> None:
        """Bring a trade around the limit; one that is refused may come again when its time has come."""
        ts_ms = self.partition.now_ms + 1 + MACHINE_RULES.future_tolerance_ms + ahead_ms
        trade = self.partition.trade(pair, ts_ms)
        self.publish(pair, [trade], 1)
        if 0 < ahead_ms <= HOUR_MS:
            self.partition.pairs[pair].held.append(trade)

    # The clock.

    @rule(ms=st.sampled_from([1, 1_000, 58_000, 62_000, 5 * MINUTE_MS, HOUR_MS]))
    def wait(self, ms: int) -> None:
        self.partition.now_ms += ms

    @precondition(lambda self: self.days < MAX_DAYS)
    @rule()
    def wait_a_day(self) -> None:
        self.days += 1
        self.partition.now_ms += DAY_MS

    @precondition(lambda self: self.partition.position == len(self.partition.log))
    @rule(skew_ms=st.sampled_from(SKEWS), feed_alive=st.booleans())
    def tick(self, skew_ms: int, feed_alive: bool) -> None:
        self.partition.tick(skew_ms, feed_alive=feed_alive)

    # The worker.

    @rule(count=st.integers(1, 12))
    def poll(self, count: int) -> None:
        self.partition.poll(count)

    @rule(count=st.integers(1, 12), unwritten=some_pairs)
    def crash_before_rows_were_written(self, count: int, unwritten: set[str]) -> None:
        self.partition.poll(count, unwritten)

    @precondition(lambda self: self.partition.position == len(self.partition.log))
    @rule(skew_ms=st.sampled_from(SKEWS), unwritten=some_pairs)
    def crash_in_a_tick(self, skew_ms: int, unwritten: set[str]) -> None:
        self.partition.tick(skew_ms, feed_alive=True, unwritten=unwritten)

    @rule()
    def commit(self) -> None:
        self.partition.commit()

    @rule()
    def crash(self) -> None:
        self.partition.crash()

    @rule(rows=st.fixed_dictionaries(dict.fromkeys(PAIRS, st.integers(0, 1 << 10))))
    def lose_folder(self, rows: dict[str, int]) -> None:
        self.partition.lose_folder(rows)

    @rule(pair=pairs)
    def restart(self, pair: str) -> None:
        """Hand a pair over through its bytes."""
        self.partition.pairs[pair].restart()

    # What must hold.

    @invariant()
    def holes_are_known_exactly(self) -> None:
        for one in self.partition.pairs.values():
            one.assert_ids()

    def teardown(self) -> None:
        """Read the log to its end, let the clock run on, and end the recording."""
        partition = self.partition
        partition.poll(len(partition.log))
        partition.now_ms = max(partition.now_ms, partition.latest_ms) + HOUR_MS
        for _ in range(2):
            partition.tick(0, feed_alive=True)
        partition.now_ms += 400 * DAY_MS
        for one in partition.pairs.values():
            one.restart()
        partition.tick(0, feed_alive=True)
        for one in partition.pairs.values():
            if one.model.taken:
                assert_batch(one)
            else:
                assert one.reader.candles == {}


def assert_batch(one: OnePair) -> None:
    """A reader has every candle of the batch, and behind the last trade only silence."""
    trades = list(one.model.taken.values())
    found = differences(trades, one.reader.candles)
    assert (found["missing"], found["different"]) == ([], []), one.pair
    last = max(trades, key=lambda trade: (trade.ts_ns, trade.trade_id))
    for timeframe, open_ms in (extra.split() for extra in found["extra"]):
        candle = one.reader.candles[timeframe, int(open_ms)]
        assert candle.synthetic
        assert candle.close == last.price
        assert candle.open_ms >= last.ts_ns // 1_000_000 // MINUTE_MS * MINUTE_MS
    for key, candle in one.line.last.items():
        assert row_of(one.reader.candles[key]) == row_of(candle)
    assert {timeframe for timeframe, _ in one.reader.candles} == set(TIMEFRAME_MS)


def test_any_feed_clock_and_crash_end_in_the_candles_of_a_sorted_batch(seed: int) -> None:
    run_machine(CandleMachine, seed, examples=60, steps=40)


def test_recording_that_was_over_and_goes_on_without_its_state_ends_in_all_its_trades() -> None:
    """The clock has closed its 4 hours early, a late trade revised them; made again they are of fewer revisions."""
    partition, pair = Partition(), "OLD/USD"
    partition.append(pair, [partition.trade(pair, partition.now_ms) for _ in range(30)])
    partition.poll(1)
    partition.tick(0, feed_alive=True)
    partition.now_ms += MINUTE_MS - partition.now_ms % MINUTE_MS
    for before_ms in (0, MACHINE_RULES.lateness_ms + MACHINE_RULES.retention_ms):
        partition.append(pair, [partition.trade(pair, partition.now_ms - before_ms)])
    partition.poll(2)
    reader = partition.pairs[pair].reader
    assert [candle.trades for (timeframe, _), candle in reader.candles.items() if timeframe == "4h"] == [31]
    partition.lose_folder(dict.fromkeys(PAIRS, 0))
    partition.poll(3)
    partition.now_ms += HOUR_MS
    partition.tick(0, feed_alive=True)
    assert [candle.trades for (timeframe, _), candle in reader.candles.items() if timeframe == "4h"] == [32]
