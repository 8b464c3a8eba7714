"""The row of a pair: what a rebuild puts into it, and rows of other versions."""

from __future__ import annotations

import msgspec
import pytest

from redpanda.errors import ConfigError
from tables.candles import CandleRules, PairCandles
from tables.candles.state import PairState, load_state, state_key
from tables.records import Trade

PAIR = "BTC/USD"
HOUR_MS = 3_600_000


def trade(trade_id: int, at_ms: int) -> Trade:
    return Trade(PAIR, trade_id, at_ms * 1_000_000, 100.0 + trade_id, 1.0, "buy", "market", "replay")


def test_rebuilt_row_sends_nothing_from_before_its_day_and_never_looks_old() -> None:
    state = PairState()
    state.publish_from_ms, state.as_of_ms = 5 * HOUR_MS, 1_000
    fold = PairCandles(PAIR, CandleRules(), {state_key(PAIR): state.pack()}.get)
    fold.apply([trade(number, number * HOUR_MS // 4) for number in range(1, 33)], 1 << 62, 17)
    candles = fold.settle(1 << 42).candles
    assert {candle.as_of_ms for candle in candles} == {1_000}
    assert min(candle.open_ms for candle in candles) == 5 * HOUR_MS
    # The one of 4:00 began before the day.
    assert [candle.open_ms // HOUR_MS for candle in candles if candle.timeframe == "4h"] == [8]
    assert fold.state.applied == [1, 32]


def test_row_keeps_what_a_rebuild_has_put_into_it() -> None:
    state = PairState()
    state.publish_from_ms, state.as_of_ms = 7, 8
    again = load_state(PAIR, {state_key(PAIR): state.pack()}.get)
    assert (again.publish_from_ms, again.as_of_ms) == (7, 8)


def test_row_of_another_version_says_what_to_do() -> None:
    row = msgspec.msgpack.encode((3, 0, 0, -1, -1, 0.0, "", [], []))
    with pytest.raises(ConfigError, match=r"format 3 and this version of tickcast reads 4.*`tickcast rebuild`"):
        load_state(PAIR, {state_key(PAIR): row}.get)
