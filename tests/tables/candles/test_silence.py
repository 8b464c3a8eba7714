"""A pair that is silent: what the clock closes, what is filled, and how far."""

from __future__ import annotations

from msgspec.structs import replace

from tables.candles import CandleRules, PairCandles
from tests.support.candle_fold import FOREVER_NS, NOTHING, PAIR, RULES, START_NS, Table, trade


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


def test_recording_that_has_one_minute_ends_with_it() -> None:
    """Nothing is closed yet: what it is a recording of, its only minute must tell."""
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    fold.apply([replace(trade(1, 0), source="replay")], FOREVER_NS)
    candles = fold.settle(now_ms=START_NS // 1_000_000 + 3_600_000).candles
    assert [candle.timeframe for candle in candles] == ["1m", "5m", "15m", "1h", "4h", "1d"]


def test_clock_that_is_an_hour_ahead_is_corrected_by_the_trades_that_come() -> None:
    """The stage gives no such clock; were it given one, every false candle would get a revision."""
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    start_ms = START_NS // 1_000_000
    fold.apply([trade(1, 0, 100.0)], FOREVER_NS)
    false = {(one.timeframe, one.open_ms): one for one in fold.settle(start_ms + 3_600_000).candles}
    assert len([one for one in false.values() if one.timeframe == "1m"]) == 59
    fold.apply([trade(number, number * 60_000, 100.0 + number) for number in range(2, 6)], FOREVER_NS)
    true = {(one.timeframe, one.open_ms): one for one in fold.settle(start_ms + 400_000).candles}
    assert all(one.revision > false[key].revision for key, one in true.items() if key in false)
    assert [true["1m", start_ms + number * 60_000].close for number in range(2, 6)] == [102.0, 103.0, 104.0, 105.0]
    assert (true["5m", start_ms].close, true["5m", start_ms].trades) == (104.0, 4)


def test_clock_that_is_an_hour_back_opens_nothing_again() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    start_ms = START_NS // 1_000_000
    fold.apply([trade(1, 0), trade(2, 130_000)], FOREVER_NS)
    fold.settle()
    output = fold.settle(start_ms - 3_600_000)
    assert (output.candles, output.row) == ([], None)
    assert fold.state.frontier_ms == start_ms + 120_000


def test_larger_candles_of_an_ended_history_close_after_a_restart() -> None:
    """Their minutes were closed before it: only the larger windows are open, and nothing else will touch them."""
    table = Table()
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply([trade(1, 0)], FOREVER_NS)
    table.write(fold.settle(START_NS // 1_000_000 + 70_000, feed_alive=False).row)
    fold = PairCandles(PAIR, RULES, table.get)
    candles = fold.settle(START_NS // 1_000_000 + 8 * 86_400_000).candles
    assert [candle.timeframe for candle in candles] == ["5m", "15m", "1h", "4h", "1d"]
