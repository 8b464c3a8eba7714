"""A pair that is silent: what the clock closes, what is filled, and how far."""

from __future__ import annotations

from tables.candles import CandleRules, PairCandles
from tests.support.candle_fold import FOREVER_NS, NOTHING, PAIR, RULES, START_NS, trade


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
