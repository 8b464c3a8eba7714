"""Every fault that the simulator commits on request, against the real client over sockets."""

from __future__ import annotations

import logging
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from agents.trades.settings import Faults
from agents.trades.source import Resume
from tests.support.exchange import busy_market, watch

if TYPE_CHECKING:
    from tests.support.exchange import Seen

pytestmark = pytest.mark.proof

PAIR = "BTC/USD"


def test_what_is_dropped_is_the_same_ids_each_time() -> None:
    market = busy_market(faults=Faults(drop_every=60, drop_run=2))
    for _ in range(2):
        seen = watch(market, lambda seen: len(seen.holes) > 4 and seen.live_ids(PAIR, 400), since="0")
        assert seen.contiguous(PAIR)
        holes = [hole for hole in seen.holes if hole.state == "open"]
        # The first frame after the snapshot may start inside a run; the rest of each run is one hole.
        assert {(hole.first_id % 60, hole.last_id % 60) for hole in holes} <= {(0, 1), (1, 1)}


def test_a_half_open_connection_is_given_up() -> None:
    market = busy_market(faults=Faults(half_open_after=5))
    seen = watch(market, lambda seen: seen.server.connections >= 2 and seen.live_ids(PAIR, 800), silence_s=1.2)
    assert seen.contiguous(PAIR)


def test_a_connection_that_is_cut_again_and_again_is_taken_up_without_a_gap() -> None:
    market = busy_market(faults=Faults(disconnect_after=8))
    seen = watch(market, lambda seen: seen.source.counters.reconnects >= 3 and seen.live_ids(PAIR, 800))
    assert seen.contiguous(PAIR)


def test_frames_that_come_late_are_overtaken_by_rest_and_change_nothing() -> None:
    market = busy_market(faults=Faults(slow_ms=400))
    seen = watch(
        market,
        lambda seen: seen.live_ids(PAIR, 1_500) and seen.source.counters.duplicate > 100,
        quiet_check_s=0.05,
    )
    assert seen.contiguous(PAIR)
    assert seen.true(PAIR)


def test_a_repeated_snapshot_changes_nothing() -> None:
    market = busy_market(faults=Faults(snapshot_every=2))
    seen = watch(market, lambda seen: seen.source.counters.duplicate > 500 and seen.live_ids(PAIR, 800), since="0")
    assert seen.contiguous(PAIR)
    assert not seen.holes


def test_maintenance_is_told_and_lived_through(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tickcast.trades")
    states: list[str] = []

    def over(seen: Seen) -> bool:
        if not states or states[-1] != seen.source.state:
            states.append(seen.source.state)
        return "maintenance" in states and seen.live_ids(PAIR, 1_000)

    market = busy_market(faults=Faults(maintenance_after=5, maintenance_ms=1_500))
    seen = watch(market, over, quiet_check_s=0.3)
    assert seen.contiguous(PAIR)
    assert states[-2:] == ["maintenance", "live"]
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("the exchange is")]
    assert said == ["the exchange is online", "the exchange is maintenance", "the exchange is online"]
    assert seen.source.counters.reconnects == 0


@pytest.mark.parametrize("skew_ms", [30_000, -30_000], ids=["ahead", "behind"])
def test_an_exchange_whose_clock_is_wrong_loses_nothing(skew_ms: int) -> None:
    market = busy_market(faults=Faults(skew_ms=skew_ms, drop_every=100))
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 1_000) and seen.source.counters.repaired > 0, since="10s")
    assert seen.contiguous(PAIR)
    ahead_s = (seen.trades[PAIR][-1].ts_ns - time.time_ns()) / 1e9
    assert abs(ahead_s - skew_ms / 1_000) < 5.0
    last = seen.trades[PAIR][-1]
    again = watch(market, lambda seen: seen.live_ids(PAIR, 300), resume={PAIR: Resume(last)})
    assert again.ids(PAIR)[0] == last.trade_id + 1
    assert again.contiguous(PAIR)


def test_the_long_history_of_some_pairs_does_not_keep_another_waiting() -> None:
    names = ["BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD", "ABC/USD", "DEF/USD"]
    market = busy_market(",".join(names), Faults(drop_every=50), trades_per_min=6_000)
    before = watch(market, lambda seen: seen.live_ids(PAIR, 50), pairs=PAIR)
    resume = {PAIR: Resume(before.trades[PAIR][-1])}
    lags_s: list[float] = []

    def enough(seen: Seen) -> bool:
        follower = seen.source._pairs[PAIR]
        new = seen.trades.get(PAIR, [])[len(lags_s) :]
        lags_s.extend(time.time() - trade.ts_ns / 1e9 for trade in new)
        return follower.repaired >= 16

    seen = watch(market, enough, resume=resume, since="30d", rest_per_s=4.0)
    assert seen.contiguous(PAIR)
    assert [pair.live for pair in seen.source._pairs.values()] == [True] + [False] * 5
    # A repair waits for one turn, 0.25 s at most; behind the pages of the five others it would wait for 1.25 s.
    assert statistics.median(lags_s[len(lags_s) // 2 :]) < 0.25
    assert sum(len(seen.ids(name)) for name in names[1:]) >= 1_000  # and history goes on
