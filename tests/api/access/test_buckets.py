from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from api.access.buckets import Buckets
from api.access.limits import Limits, bucket_of

RATES = st.sampled_from([0.001, 0.3, 1.0, 7.0, 20.0, 1_000.0])
BURSTS = st.sampled_from([1.0, 1.5, 5.0, 100.0])
GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.05, 1 / 7, 0.5, 1.0, 30.0, 1e6]), min_size=1, max_size=80)


@given(RATES, BURSTS, GAPS)
def test_bucket_is_the_textbook_one(rate: float, burst: float, gaps: list[float]) -> None:
    buckets = Buckets(10)
    now_s, tokens, full = 50_000.0, Fraction(burst), Fraction(burst)
    for gap_s in gaps:
        tokens = min(full, tokens + (Fraction(now_s + gap_s) - Fraction(now_s)) * Fraction(rate))
        now_s += gap_s
        verdict = buckets.take("a", now_s, rate, burst)
        if abs(tokens - round(tokens)) > Fraction(1, 10**6):  # at a whole number rounding may decide either way
            assert (verdict.wait_s == 0) == (tokens >= 1)
            assert verdict.left == int(tokens - 1 if tokens >= 1 else tokens)
        if not verdict.wait_s:
            tokens -= 1
        else:
            assert abs(float((1 - tokens) / Fraction(rate)) - verdict.wait_s) < 1e-3
        assert abs(float((full - tokens) / Fraction(rate)) - verdict.full_s) < 1e-3


@given(RATES, BURSTS, st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_window_lets_more_through_than_burst_and_flow(rate: float, burst: float, gaps: list[float]) -> None:
    buckets = Buckets(10)
    now_s, taken = 0.0, []
    for gap_s in gaps:
        now_s += gap_s
        if not buckets.take("a", now_s, rate, burst).wait_s:
            taken.append(now_s)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * rate + 1e-6


@given(RATES, BURSTS)
def test_who_waits_as_told_is_let_in_and_who_hurries_is_not(rate: float, burst: float) -> None:
    buckets = Buckets(10)
    while not (refused := buckets.take("a", 7.0, rate, burst)).wait_s:
        pass
    assert buckets.take("a", 7.0 + refused.wait_s * 0.99, rate, burst).wait_s > 0
    assert buckets.take("a", 7.0 + refused.wait_s, rate, burst).wait_s == 0


def test_names_do_not_share_and_the_longest_silent_is_forgotten() -> None:
    buckets = Buckets(3)
    for name in ("a", "b", "c", "a"):
        assert buckets.take(name, 0.0, 1.0, 2.0).wait_s == 0
    assert buckets.take("a", 0.0, 1.0, 2.0).wait_s == 1.0
    buckets.take("d", 0.0, 1.0, 2.0)  # in the place of b
    assert len(buckets) == 3
    assert buckets.take("a", 0.0, 1.0, 2.0).wait_s == 1.0
    assert buckets.take("c", 0.0, 1.0, 2.0).left == 0
    assert buckets.take("b", 0.0, 1.0, 2.0).left == 1


def test_headers_tell_quota_rest_and_time() -> None:
    limits = Limits(lambda: 100.0, 5.0, 10)
    answers = [limits.take("a", 2.0, "key") for _ in range(11)]
    assert dict(answers[0].headers) == {b"ratelimit-policy": b'"key";q=10;w=5', b"ratelimit": b'"key";r=9;t=1'}
    assert dict(answers[9].headers)[b"ratelimit"] == b'"key";r=0;t=5'
    assert [answer.wait_s for answer in answers] == [0] * 10 + [1]
    assert limits.take("a", 0.0, "key") == (0, [])


def test_rate_below_one_a_second_still_lets_one_through() -> None:
    limits = Limits(lambda: 0.0, 5.0, 10)
    assert limits.take("a", 0.1, "key").wait_s == 0
    assert limits.take("a", 0.1, "key").wait_s == 10
    assert limits.take("b", 1e-320, "key").wait_s == 0
    assert limits.take("b", 1e-320, "key").wait_s == 1_000


def test_addresses_of_one_subscriber_share() -> None:
    assert bucket_of("192.0.2.7") == "192.0.2.7"
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert bucket_of("2001:db8:0:1::1") != bucket_of("2001:db8::1")
