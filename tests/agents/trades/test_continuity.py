from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from agents.trades.continuity import PairLedger
from tables.records import Trade


def trade(trade_id: int) -> Trade:
    return Trade("BTC/USD", trade_id, trade_id * 1_000, 1.0, 1.0, "buy")


def trades(*ids: int) -> list[Trade]:
    return [trade(trade_id) for trade_id in ids]


def ids(released: list[Trade]) -> list[int]:
    return [one.trade_id for one in released]


def live(next_id: int, max_pending: int = 50_000) -> PairLedger:
    ledger = PairLedger(max_pending=max_pending)
    ledger.anchor(next_id)
    ledger.go_live(0.0)
    return ledger


def news(ledger: PairLedger) -> list[tuple[int, int, str]]:
    told: list[tuple[int, int, str]] = [(one.first, one.last, one.state) for one in ledger.news]
    ledger.news.clear()
    return told


@given(st.integers(1, 60), st.booleans(), st.data())
def test_any_order_with_any_repetition_comes_out_once_and_in_order(
    count: int, is_live: bool, data: st.DataObject
) -> None:
    start = data.draw(st.integers(1, 10**9))
    wanted = list(range(start, start + count))
    order = data.draw(st.permutations(wanted + data.draw(st.lists(st.sampled_from(wanted), max_size=40))))
    ledger = PairLedger()
    ledger.anchor(start)
    if is_live:
        ledger.go_live(0.0)
    out: list[int] = []
    while order:
        size = data.draw(st.integers(1, 10))
        out += ids(ledger.offer(trades(*order[:size])))
        del order[:size]
    assert out == wanted
    assert not ledger.pending
    assert not ledger.ranges()


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 40))
def test_holes_are_exactly_what_is_missing(arrivals: list[int], start: int) -> None:
    ledger = live(start)
    for trade_id in arrivals:
        ledger.offer([trade(trade_id)])
    missing = {one for first, last in ledger.ranges() for one in range(first, last + 1)}
    beyond = {one for one in arrivals if one >= start}
    assert missing == set(range(start, max(beyond, default=start))) - beyond
    assert all(gap.missing for gap in ledger.gaps)


STEPS: st.SearchStrategy[tuple[str, list[int]]] = st.one_of(
    st.tuples(st.just("offer"), st.lists(st.integers(1, 60), min_size=1, max_size=8)),
    st.tuples(st.just("told"), st.lists(st.integers(1, 60), min_size=2, max_size=2)),
    st.tuples(st.just("pass"), st.just([])),
    st.tuples(st.just("newest"), st.lists(st.integers(1, 60), min_size=1, max_size=1)),
)


@given(st.lists(STEPS, max_size=40), st.integers(1, 3), st.integers(1, 60))
@example([("offer", [36, 39]), ("told", [2, 38]), ("offer", [37])], 1, 2)  # given up, and then it came
@example([("offer", [36, 39]), ("told", [2, 38]), ("offer", list(range(1, 38)))], 1, 60)
def test_whatever_happens_each_id_comes_once_or_is_given_up_once_and_every_hole_is_told_to_its_end(
    steps: list[tuple[str, list[int]]], tries: int, room: int
) -> None:
    ledger = live(1, max_pending=room)
    out: list[int] = []
    arrived: set[int] = set()
    for now_s, (step, numbers) in enumerate([*steps, ("end", [])], 1):
        if step == "offer":
            arrived.update(numbers)
            out += ids(ledger.offer(trades(*numbers), float(now_s)))
        elif step == "told":
            ledger.told(min(numbers), max(numbers), float(100 * now_s))
            out += ids(ledger.give_up(tries))
        elif step == "pass":
            out += ids(ledger.pass_overdue(float(now_s)))
        elif step == "newest":
            ledger.told_newest(numbers[0], float(now_s))
        else:
            out += ids(ledger.forget(0))
        assert len(ledger.pending) <= max(room, 8)
    assert not ledger.pending
    assert len(out) == len(set(out))
    assert arrived >= set(out)
    # What came is out, but for ids that came after they had been given up: those are duplicates to the ledger.
    states: dict[int, str] = {}
    for one in ledger.news:
        for number in range(one.first, one.last + 1):
            if one.state == "open":
                assert states.get(number) != "repaired"
            states[number] = one.state
    given_up = {number for number, state in states.items() if state == "unrepairable"}
    assert "open" not in states.values()
    assert set(out) | given_up == set(range(1, ledger.high + 1))
    assert len(given_up) == ledger.skipped


def test_a_hole_is_told_when_it_is_seen_and_when_it_is_filled() -> None:
    ledger = live(5)
    assert ids(ledger.offer(trades(5, 8))) == [5]
    assert news(ledger) == [(6, 7, "open")]
    ledger.offer(trades(7))
    assert news(ledger) == []
    assert ids(ledger.offer(trades(6))) == [6, 7, 8]
    assert news(ledger) == [(6, 7, "repaired")]


def test_disorder_within_a_frame_is_no_hole() -> None:
    ledger = live(5)
    assert ids(ledger.offer(trades(8, 7, 6, 5))) == [5, 6, 7, 8]
    assert news(ledger) == []


def test_what_is_given_up_of_a_hole_is_told_apart_from_what_came() -> None:
    ledger = live(1)
    ledger.offer(trades(10))
    ledger.offer(trades(1, 2, 5))
    ledger.told(1, 10, 1.0)
    assert ids(ledger.give_up(1)) == [5, 10]
    assert news(ledger) == [
        (1, 9, "open"),
        (1, 2, "repaired"),
        (3, 4, "unrepairable"),
        (5, 5, "repaired"),
        (6, 9, "unrepairable"),
    ]
    assert ledger.skipped == 6


def test_a_page_counts_for_every_hole_that_it_spans_and_for_no_other() -> None:
    ledger = live(1)
    ledger.offer(trades(2, 4, 6, 20), 0.0)
    ledger.told(3, 10, 1.0)
    assert [(gap.first, gap.last, gap.answers) for gap in ledger.gaps] == [
        (1, 1, 0),
        (3, 3, 1),
        (5, 5, 1),
        (7, 10, 1),
        (11, 19, 0),
    ]


def test_a_page_that_comes_before_a_hole_is_due_again_is_no_further_try() -> None:
    ledger = live(1)
    ledger.offer(trades(2), 0.0)
    for now_s, answers in ((0.0, 1), (0.1, 1), (0.3, 2), (0.5, 2), (1.4, 3)):
        ledger.told(1, 2, now_s)
        assert [gap.answers for gap in ledger.gaps] == [answers]


def test_a_page_of_history_tells_of_the_holes_in_it_and_not_of_the_way_to_the_live_trades() -> None:
    ledger = PairLedger()
    ledger.anchor(1)
    ledger.offer(trades(500, 501))
    ledger.offer(trades(1, 2, 4))
    ledger.told(1, 4, 0.0)
    assert news(ledger) == [(3, 3, "open")]
    ledger.go_live(1.0)
    assert news(ledger) == [(5, 499, "open")]


def test_a_passed_hole_stays_open_and_its_trades_come_late() -> None:
    ledger = live(1)
    ledger.offer(trades(3, 4), 10.0)
    assert ledger.pass_overdue(9.9) == []
    assert ids(ledger.pass_overdue(10.0)) == [3, 4]
    assert ledger.ranges() == [(1, 2)]
    assert ids(ledger.offer(trades(5, 2))) == [2, 5]
    assert ids(ledger.offer(trades(1, 2))) == [1]
    assert news(ledger) == [(1, 2, "open"), (1, 2, "repaired")]
    assert ledger.skipped == 0


def test_a_live_pair_never_drops_a_trade_it_passes_the_hole_instead() -> None:
    ledger = live(1, max_pending=10)
    out = ids(ledger.offer(trades(*range(2, 14))))
    assert out == list(range(2, 14))
    assert (ledger.overflow, ledger.ranges()) == (0, [(1, 1)])


@given(st.lists(st.integers(1, 60), max_size=100), st.integers(0, 5))
def test_too_many_waiting_for_history_are_counted_and_come_again(arrivals: list[int], room: int) -> None:
    ledger = PairLedger(max_pending=room)
    ledger.anchor(1)
    out = [one for trade_id in arrivals for one in ids(ledger.offer([trade(trade_id)]))]
    assert len(ledger.pending) <= room
    out += ids(ledger.offer(trades(*range(1, 61))))
    assert out == list(range(1, 61))


def test_live_trades_wait_until_history_says_where_the_pair_starts() -> None:
    ledger = PairLedger()
    assert ledger.offer(trades(12, 13)) == []
    assert ledger.ranges() == []
    assert ids(ledger.anchor(10)) == []
    assert ids(ledger.offer(trades(10, 11))) == [10, 11, 12, 13]


def test_what_waits_below_the_start_is_a_duplicate() -> None:
    ledger = PairLedger()
    ledger.offer(trades(4, 5, 6))
    assert ids(ledger.anchor(6, last_ts_ns=9)) == [6]
    assert ledger.duplicates == 2
    assert ledger.last_ts_ns == 6_000


def test_the_same_trade_twice_in_one_call_is_released_once() -> None:
    ledger = live(5)
    assert ids(ledger.offer(trades(6, 5, 6, 7))) == [5, 6, 7]
    assert (ledger.duplicates, ledger.pending) == (1, {})


def test_an_exchange_that_names_its_newest_trade_shows_a_hole_at_the_end() -> None:
    ledger = live(5)
    ledger.offer(trades(5, 6))
    ledger.told_newest(6, 0.0)
    assert news(ledger) == []
    ledger.told_newest(8, 0.0)
    assert news(ledger) == [(7, 8, "open")]
    assert ids(ledger.offer(trades(7, 8, 9))) == [7, 8, 9]
