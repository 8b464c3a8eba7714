"""The candles stage in odd situations: shared partitions and minutes, long silence, wrong clocks, future trades."""

from __future__ import annotations

import pytest

from redpanda.topics import CANDLES
from tables.candles import CandleRules, PairCandles
from tables.candles.state import state_key
from tables.records import DAY_MS, MINUTE_MS, Candle, Trade
from tests.support.candle_stage import NOW_MS, StageBench
from tests.support.reference import differences

HOUR_MS = 3_600_000
BTC, ADA = "BTC/USD", "ADA/USD"
"""Of one partition."""
ONE = 1
ETH = "ETH/USD"
THREE = 3


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> StageBench:
    return StageBench(monkeypatch)


def trade(bench: StageBench, pair: str, trade_id: int, price: float = 100.0, ahead_ms: int = 0) -> Trade:
    return Trade(pair, trade_id, (bench.now_ms + ahead_ms) * 1_000_000, price, 1.0, "buy")


def newest(candles: list[Candle]) -> dict[tuple[str, int], Candle]:
    return {(candle.timeframe, candle.open_ms): candle for candle in candles}


def are_revisions(candles: list[Candle]) -> bool:
    """Tell whether no version of a candle was given twice: each is the next revision of the one before."""
    known: dict[int, int] = {}
    for candle in candles:
        if candle.revision != known.get(candle.open_ms, -1) + 1:
            return False
        known[candle.open_ms] = candle.revision
    return True


def test_partitions_that_close_the_same_minute_do_not_touch_each_other(bench: StageBench) -> None:
    """Faust's own windows close one of them and lose the other."""
    bench.take(ONE, [trade(bench, BTC, 1, 100.0)])
    bench.take(THREE, [trade(bench, ETH, 1, 7.0)])
    bench.now_ms += MINUTE_MS + 3_000
    bench.take(ONE, [trade(bench, BTC, 2, 101.0)])
    assert [(one.open_ms, one.close, one.trades) for one in bench.candles(BTC)] == [(NOW_MS, 100.0, 1)]
    assert bench.candles(ETH) == []
    bench.take(THREE, [trade(bench, ETH, 2, 8.0)])
    assert [(one.open_ms, one.close, one.trades) for one in bench.candles(ETH)] == [(NOW_MS, 7.0, 1)]
    places = {(partition, key) for partition, topic, key, _ in bench.delivered if topic == CANDLES}
    assert places == {(ONE, BTC.encode()), (THREE, ETH.encode())}
    assert bench.table.keys() == {state_key(BTC), state_key(ETH)}


def test_pairs_of_one_partition_have_candles_of_their_own_trades(bench: StageBench) -> None:
    history: dict[str, list[Trade]] = {BTC: [], ADA: []}
    for minute in range(12):
        for at, (pair, trades) in enumerate(history.items()):
            trades += [trade(bench, pair, 2 * minute + 1 + side, 10.0**at + minute + side) for side in (0, 1)]
        # In turn, ids of both pairs alike, one chunk.
        bench.take(ONE, history[BTC][-2:-1], history[ADA][-2:-1], history[BTC][-1:], history[ADA][-1:])
        bench.now_ms += MINUTE_MS
    bench.idle(ONE)
    for pair, trades in history.items():
        fold = PairCandles(pair, CandleRules(), bench.table.get)
        candles = [one for frame in ("1m", "5m", "15m", "1h", "4h", "1d") for one in bench.candles(pair, frame)]
        candles += fold.settle(bench.now_ms + 400 * DAY_MS).candles
        assert differences(trades, newest(candles)) == {"missing": [], "extra": [], "different": []}


def test_pair_that_is_quiet_for_a_day_gets_bars_up_to_the_setting_and_the_rest_with_its_next_trade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = StageBench(monkeypatch, CandleRules(idle_fill_max_ms=2 * HOUR_MS))
    bench.take(ONE, [trade(bench, BTC, 1, 100.0)])
    for minute in range(DAY_MS // MINUTE_MS):
        bench.now_ms += MINUTE_MS
        bench.take(ONE, [trade(bench, ADA, minute + 1, 3.0)])
        bench.tick(ONE)
    silent = bench.candles(BTC)[1:]
    assert len(silent) == 2 * HOUR_MS // MINUTE_MS - 1
    assert {(one.synthetic, one.close, one.volume, one.trades) for one in silent} == {(True, 100.0, 0.0, 0)}
    bench.take(ONE, [trade(bench, BTC, 2, 120.0)])
    bench.wait(MINUTE_MS + 5_000, ONE)
    minutes = bench.candles(BTC)
    assert [one.open_ms for one in minutes] == list(range(NOW_MS, NOW_MS + DAY_MS + MINUTE_MS, MINUTE_MS))
    assert {one.revision for one in minutes} == {0}
    assert [one.close for one in minutes[-2:]] == [100.0, 120.0]
    assert [one.synthetic for one in minutes[-2:]] == [True, False]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_wall_clock_an_hour_ahead_closes_no_minute_early(bench: StageBench, is_restarted: bool) -> None:
    bench.take(ONE, [trade(bench, BTC, 1)])
    bench.skew_ms = HOUR_MS
    if is_restarted:
        bench.restart()
        bench.tick(ONE)
    bench.idle(ONE)
    assert bench.candles(BTC) == []
    bench.take(ONE, [trade(bench, BTC, 2, 105.0)])
    bench.wait(MINUTE_MS, ONE)
    assert [(one.close, one.trades, one.revision) for one in bench.candles(BTC)] == [(105.0, 2, 0)]


def test_wall_clock_an_hour_back_keeps_no_minute_open(bench: StageBench) -> None:
    bench.take(ONE, [trade(bench, BTC, 1)])
    bench.skew_ms = -HOUR_MS
    bench.wait(MINUTE_MS + 2_000, ONE)
    assert [(one.open_ms, one.closed_by, one.revision) for one in bench.candles(BTC)] == [(NOW_MS, "timer", 0)]


def test_wall_clock_that_jumps_to_and_fro_gives_no_candle_twice(bench: StageBench) -> None:
    for step in range(40):
        bench.skew_ms = (0, HOUR_MS, -HOUR_MS)[step % 3]
        bench.take(ONE, [trade(bench, BTC, step + 1, 100.0 + step)])
        bench.wait(20_000, ONE)
        bench.tick(ONE)
    minutes = bench.candles(BTC)
    assert len(minutes) == 13
    assert are_revisions(minutes)
    assert {one.revision for one in minutes} == {0}
    assert {one.trades for one in minutes} == {3}


def test_trade_of_the_future_is_refused_and_moves_no_watermark(bench: StageBench) -> None:
    bench.take(ONE, [trade(bench, BTC, 1)])
    row = bench.table[state_key(BTC)]
    future = trade(bench, BTC, 2, ahead_ms=60_001)
    bench.take(ONE, [future])
    assert [(one.reason, one.pair, one.stage) for one in bench.letters()] == [("future-timestamp", BTC, "candles")]
    assert "trade 2 at" in bench.letters()[0].detail
    assert bench.table[state_key(BTC)] == row
    assert bench.candles(BTC) == []
    # Its minute has come: it was refused and not applied, so it counts.
    bench.now_ms += 70_000
    bench.take(ONE, [future])
    bench.take(ONE, [trade(bench, BTC, 3)])
    bench.wait(2 * MINUTE_MS, ONE)
    assert [(one.open_ms, one.trades) for one in bench.candles(BTC)] == [(NOW_MS, 1), (NOW_MS + MINUTE_MS, 2)]
