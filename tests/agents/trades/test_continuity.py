from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.trades.continuity import PairLedger
from tables.records import Trade


def trade(trade_id: int) -> Trade:
    return Trade("BTC/USD", trade_id, trade_id * 1_000, 1.0, 1.0, "buy")


def trades(*ids: int) -> list[Trade]:
    return [trade(trade_id) for trade_id in ids]


def ids(released: list[Trade]) -> list[int]:
    return [one.trade_id for one in released]


@given(st.integers(1, 60), st.data())
def test_any_order_with_any_repetition_comes_out_once_and_in_order(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(1, 10**9))
    wanted = list(range(start, start + count))
    order = data.draw(st.permutations(wanted + data.draw(st.lists(st.sampled_from(wanted), max_size=40))))
    ledger = PairLedger()
    ledger.anchor(start)
    out: list[int] = []
    while order:
        size = data.draw(st.integers(1, 10))
        out += ids(ledger.offer(trades(*order[:size])))
        del order[:size]
    assert out == wanted
    assert not ledger.pending
    assert not ledger.holes()


@given(st.sets(st.integers(1, 40)), st.integers(1, 40), st.lists(st.integers(1, 40), max_size=60))
def test_holes_are_exactly_what_is_missing(seen: set[int], start: int, again: list[int]) -> None:
    ledger = PairLedger()
    ledger.anchor(start)
    for trade_id in [*seen, *(one for one in again if one in seen)]:
        ledger.offer([trade(trade_id)])
    missing = {one for first, last in ledger.holes() for one in range(first, last + 1)}
    beyond = {one for one in seen if one >= start}
    assert missing == set(range(start, max(beyond, default=start))) - seen


@given(st.sets(st.integers(1, 40), min_size=1), st.integers(1, 45))
def test_a_skipped_hole_frees_what_waits_and_never_comes_back(seen: set[int], last: int) -> None:
    ledger = PairLedger()
    ledger.anchor(1)
    out = [one for trade_id in sorted(seen, reverse=True) for one in ids(ledger.offer([trade(trade_id)]))]
    out += ids(ledger.skip(last))
    out += ids(ledger.offer(trades(*range(1, 60))))
    assert out == sorted(set(out))
    assert len(out) + ledger.skipped == 59
    assert set(out) >= seen


@given(st.lists(st.integers(1, 60), max_size=100), st.integers(0, 5))
def test_too_many_waiting_are_counted_and_leave_a_hole_not_a_gap(arrivals: list[int], room: int) -> None:
    ledger = PairLedger(max_pending=room)
    ledger.anchor(1)
    out = [one for trade_id in arrivals for one in ids(ledger.offer([trade(trade_id)]))]
    out += ids(ledger.offer(trades(*range(1, 61))))
    assert out == list(range(1, 61))
    assert len(ledger.pending) <= room


def test_live_trades_wait_until_history_says_where_the_pair_starts() -> None:
    ledger = PairLedger()
    assert ledger.offer(trades(12, 13)) == []
    assert ledger.holes() == []
    assert ids(ledger.anchor(10)) == []
    assert ids(ledger.offer(trades(10, 11))) == [10, 11, 12, 13]


def test_what_waits_below_the_start_is_a_duplicate() -> None:
    ledger = PairLedger()
    ledger.offer(trades(4, 5, 6))
    assert ids(ledger.anchor(6, last_ts_ns=9)) == [6]
    assert ledger.duplicates == 2
    assert ledger.last_ts_ns == 6_000


def test_the_same_trade_twice_in_one_call_is_released_once() -> None:
    ledger = PairLedger()
    ledger.anchor(5)
    assert ids(ledger.offer(trades(6, 5, 6, 7))) == [5, 6, 7]
    assert (ledger.duplicates, ledger.pending) == (1, {})
