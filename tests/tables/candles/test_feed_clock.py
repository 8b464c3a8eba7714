"""Time as the log tells it: silence of a pair counts while the feed is up, and a wrong clock has no say."""

from __future__ import annotations

from tables.candles.feed_clock import FeedClock

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000


def clock_of_a_living_feed(since_ms: int) -> FeedClock:
    clock = FeedClock(60_000)
    for at_ms in range(since_ms, NOW_MS + 1, 30_000):
        clock.note(at_ms, (at_ms - 200) * 1_000_000, at_ms)
    return clock


def test_quiet_pair_of_a_living_feed_is_silent() -> None:
    clock = clock_of_a_living_feed(NOW_MS - 2 * HOUR_MS)
    assert clock.is_silence((NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)


def test_pair_whose_history_is_still_read_is_not_silent() -> None:
    clock = clock_of_a_living_feed(NOW_MS - HOUR_MS)
    clock.note(NOW_MS, (NOW_MS - 24 * HOUR_MS) * 1_000_000, NOW_MS)
    assert not clock.is_silence((NOW_MS - 24 * HOUR_MS) * 1_000_000, NOW_MS)


def test_outage_of_the_feed_is_not_silence() -> None:
    clock = clock_of_a_living_feed(NOW_MS - HOUR_MS)
    assert not clock.is_silence(NOW_MS * 1_000_000, NOW_MS + 90_000)


def test_pair_that_traded_last_before_an_outage_waits_for_its_trades() -> None:
    clock = FeedClock(60_000)
    clock.note(NOW_MS - HOUR_MS, (NOW_MS - HOUR_MS) * 1_000_000, NOW_MS - HOUR_MS)
    clock.note(NOW_MS, NOW_MS * 1_000_000, NOW_MS)
    assert not clock.is_silence((NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)
    assert clock.is_silence(NOW_MS * 1_000_000, NOW_MS + 30_000)


def test_history_is_no_sign_of_life() -> None:
    clock = FeedClock(60_000)
    clock.note(NOW_MS, (NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)
    assert not clock.is_silence((NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)


def test_time_is_the_brokers_carried_on_by_the_monotonic_clock() -> None:
    clock = FeedClock(60_000)
    assert clock.now_ms(5_000) == 0
    clock.note(NOW_MS, NOW_MS * 1_000_000, 1_000)
    assert clock.now_ms(8_500) == NOW_MS + 7_500


def test_record_that_was_read_late_does_not_turn_time_back() -> None:
    clock = FeedClock(60_000)
    clock.note(NOW_MS, NOW_MS * 1_000_000, 0)
    clock.note(NOW_MS - HOUR_MS, (NOW_MS - HOUR_MS) * 1_000_000, 10)
    assert clock.now_ms(10) == NOW_MS + 10


def test_clock_of_the_broker_that_leaves_the_exchange_by_an_hour_is_not_believed() -> None:
    clock = FeedClock(60_000)
    clock.note(NOW_MS, NOW_MS * 1_000_000, 0)
    clock.note(NOW_MS + HOUR_MS, NOW_MS * 1_000_000, 10)
    assert clock.now_ms(10) == NOW_MS + 10


def test_time_of_a_stored_state_counts_until_a_live_trade_tells_better() -> None:
    clock = FeedClock(60_000)
    clock.recall(NOW_MS - 2 * HOUR_MS, 0)
    clock.recall(NOW_MS - HOUR_MS, 0)
    clock.recall(0, 0)
    assert clock.now_ms(100) == NOW_MS - HOUR_MS + 100
    clock.note(NOW_MS - 90 * 60_000, (NOW_MS - 90 * 60_000) * 1_000_000, 200)
    assert clock.now_ms(200) == NOW_MS - 90 * 60_000
    clock.recall(NOW_MS, 200)
    assert clock.now_ms(200) == NOW_MS - 90 * 60_000
