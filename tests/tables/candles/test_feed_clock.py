"""Silence of a pair is filled only while the feed has been up ever since its newest trade."""

from __future__ import annotations

from tables.candles.feed_clock import FeedClock

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000


def clock_of_a_living_feed(since_ms: int) -> FeedClock:
    clock = FeedClock(60_000)
    for at_ms in range(since_ms, NOW_MS + 1, 30_000):
        clock.note(at_ms, (at_ms - 200) * 1_000_000)
    return clock


def test_quiet_pair_of_a_living_feed_is_silent() -> None:
    clock = clock_of_a_living_feed(NOW_MS - 2 * HOUR_MS)
    assert clock.is_silence((NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)


def test_pair_whose_history_is_still_read_is_not_silent() -> None:
    clock = clock_of_a_living_feed(NOW_MS - HOUR_MS)
    clock.note(NOW_MS, (NOW_MS - 24 * HOUR_MS) * 1_000_000)
    assert not clock.is_silence((NOW_MS - 24 * HOUR_MS) * 1_000_000, NOW_MS)


def test_outage_of_the_feed_is_not_silence() -> None:
    clock = clock_of_a_living_feed(NOW_MS - HOUR_MS)
    assert not clock.is_silence(NOW_MS * 1_000_000, NOW_MS + 90_000)


def test_pair_that_traded_last_before_an_outage_waits_for_its_trades() -> None:
    clock = FeedClock(60_000)
    clock.note(NOW_MS - HOUR_MS, (NOW_MS - HOUR_MS) * 1_000_000)
    clock.note(NOW_MS, NOW_MS * 1_000_000)
    assert not clock.is_silence((NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)
    assert clock.is_silence(NOW_MS * 1_000_000, NOW_MS + 30_000)


def test_history_is_no_sign_of_life() -> None:
    clock = FeedClock(60_000)
    clock.note(NOW_MS, (NOW_MS - HOUR_MS) * 1_000_000)
    assert not clock.is_silence((NOW_MS - HOUR_MS) * 1_000_000, NOW_MS)
