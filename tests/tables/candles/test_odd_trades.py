"""Trades that come again, too late, or broken: each has one outcome, and the rest goes on."""

from __future__ import annotations

from msgspec.structs import replace

from tables.candles import PairCandles
from tests.support.candle_fold import FOREVER_NS, NOTHING, PAIR, RULES, START_NS, Table, trade


def test_replayed_trade_changes_nothing() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    fold.apply([trade(1, 0), trade(2, 1_000)], FOREVER_NS)
    before = fold.settle()
    fold.apply([trade(1, 0), trade(2, 1_000)], FOREVER_NS)
    output = fold.settle()
    assert (output.applied, output.duplicates, output.candles) == (0, 2, [])
    # Yet the row is written: after a crash the changelog may lack its last one.
    assert output.row == before.row


def test_duplicate_of_an_evicted_trade_is_a_duplicate_and_not_late() -> None:
    table = Table()
    fold = PairCandles(PAIR, RULES, table.get)
    fold.apply([trade(1, 0), trade(2, 7_200_000)], FOREVER_NS)
    table.write(fold.settle().row)
    for one in (fold, PairCandles(PAIR, RULES, table.get)):
        one.apply([trade(1, 0)], FOREVER_NS)
        output = one.settle()
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


def test_minute_leaves_the_state_at_the_very_nanosecond() -> None:
    old_ms = 60_000 + RULES.lateness_ms + RULES.retention_ms
    for before_ns, is_late in ((0, True), (1, False)):
        fold = PairCandles(PAIR, RULES, NOTHING.get)
        newest = replace(trade(9, old_ms), ts_ns=trade(9, old_ms).ts_ns - before_ns)
        fold.apply([newest, trade(1, 59_999), trade(2, 60_000)], FOREVER_NS)
        output = fold.settle()
        assert [late.trade.trade_id for late in output.late] == ([1] if is_late else [])
        assert output.applied == 3 - is_late


def test_older_minute_that_comes_before_any_is_closed_is_closed_at_once() -> None:
    """Its watermark has passed: it must not wait for the next trade."""
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    fold.apply([trade(2, 300_000), trade(1, 0)], FOREVER_NS)
    minutes = [candle for candle in fold.settle().candles if candle.timeframe == "1m"]
    assert [(candle.trades, candle.closed_by) for candle in minutes] == [(1, "watermark")] + [(0, "watermark")] * 3


def test_trade_at_the_very_limit_is_taken_and_one_nanosecond_later_is_not() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    last = trade(1, 5_000)
    fold.apply([last, replace(last, trade_id=2, ts_ns=last.ts_ns + 1)], last.ts_ns)
    output = fold.settle()
    assert output.applied == 1
    assert [reason for _, reason in output.refused] == ["future-timestamp"]


def test_minute_stays_open_until_the_watermark_has_passed_its_end() -> None:
    fold = PairCandles(PAIR, RULES, NOTHING.get)
    for number, (at_ms, closed) in enumerate([(0, 0), (60_000 + RULES.lateness_ms - 1, 0), (62_000, 1)], 1):
        fold.apply([trade(number, at_ms)], FOREVER_NS)
        assert len(fold.settle().candles) == closed
