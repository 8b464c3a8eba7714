"""Where an ingest goes on: the holes that an earlier process has told of and not closed."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.trades.resume import resume_points, still_open
from agents.trades.source import Batch, Resume
from redpanda import admin
from redpanda.tail import last_records
from redpanda.topics import HOLES, TRADES
from tables.records import Hole, HoleState
from tests.support.exchange import busy_market, true_trades, watch
from tests.support.ingest import IngestStack, published, wait_for
from tests.support.publishing import one, publish
from tests.support.samples import hole

if TYPE_CHECKING:
    from pathlib import Path

    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

PAIR = "BTC/USD"
STATES: tuple[HoleState, ...] = ("open", "repaired", "unrepairable")


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.integers(1, 40), st.integers(0, 9), st.sampled_from(STATES)), max_size=30
    )
)
def test_what_is_still_open_are_the_ids_that_were_opened_last(told: list[tuple[str, int, int, HoleState]]) -> None:
    missing: set[tuple[str, int]] = set()
    records = []
    for pair, first, more, state in told:
        records.append(hole(first, state, pair=pair, last_id=first + more))
        ids = {(pair, one) for one in range(first, first + more + 1)}
        missing = missing | ids if state == "open" else missing - ids
    found = still_open(records)
    assert {
        (pair, one) for pair, holes in found.items() for h in holes for one in range(h.first_id, h.last_id + 1)
    } == missing
    for holes in found.values():
        assert all(low.last_id < high.first_id for low, high in itertools.pairwise(holes))


def test_holes_of_an_earlier_process_are_filled_and_closed_below_the_last_trade_and_above_it() -> None:
    market = busy_market()
    before = watch(market, lambda seen: seen.live_ids(PAIR, 1_500), since="4s")
    last = before.trades[PAIR][-1]
    passed = hole(last.trade_id - 700, pair=PAIR, after_ns=last.ts_ns - 30_000_000_000)
    ahead = hole(last.trade_id + 3, pair=PAIR, after_ns=last.ts_ns)
    resume = {PAIR: Resume(last, [passed, ahead])}
    after = watch(market, lambda seen: seen.live_ids(PAIR, 500), resume=resume)
    missing = set(range(passed.first_id, passed.last_id + 1))
    late = [trade for trade in after.trades[PAIR] if trade.trade_id in missing]
    assert late == true_trades(after.server.market, PAIR, missing, "sim")
    ids = [trade.trade_id for trade in after.trades[PAIR] if trade.trade_id not in missing]
    assert ids == list(range(last.trade_id + 1, last.trade_id + 1 + len(ids)))
    states = after.hole_states(PAIR)
    assert states[passed.first_id] == (passed.last_id, "repaired")
    assert states[ahead.first_id] == (ahead.last_id, "repaired")
    assert {one.found_at_ms for one in after.holes if one.first_id in (passed.first_id, ahead.first_id)} == {
        passed.found_at_ms
    }


def test_what_an_earlier_process_published_of_its_holes_is_not_published_again() -> None:
    """It was killed after the trades that fill a hole and before the record that closes it."""
    market = busy_market()
    before = watch(market, lambda seen: seen.live_ids(PAIR, 1_500), since="4s")
    last = before.trades[PAIR][-1]
    whole = hole(last.trade_id - 700, pair=PAIR, after_ns=last.ts_ns - 30_000_000_000)
    half = hole(last.trade_id - 300, pair=PAIR, after_ns=last.ts_ns - 20_000_000_000)
    came = frozenset([*range(whole.first_id, whole.last_id + 1), half.first_id])
    resume = {PAIR: Resume(last, [whole, half], came)}
    after = watch(market, lambda seen: seen.live_ids(PAIR, 500), resume=resume)
    missing = set(range(half.first_id + 1, half.last_id + 1))
    assert missing
    ids = [trade.trade_id for trade in after.trades[PAIR]]
    assert sorted(one for one in ids if one <= last.trade_id) == sorted(missing)
    assert sorted(set(ids)) == sorted(ids)
    told = [
        (one.first_id, one.last_id, one.state, one.found_at_ms) for one in after.holes if one.first_id <= last.trade_id
    ]
    assert told == [(one.first_id, one.last_id, "repaired", one.found_at_ms) for one in (whole, half)]


@pytest.mark.component
def test_ids_of_open_holes_that_the_topic_holds_are_found(
    broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    admin.apply(broker_admin, broker_settings)
    pair, whole = "CAME/USD", "NOHOLE/USD"
    publish(
        broker_settings,
        Batch(pair, [one(pair, n) for n in range(1, 11)], holes=[hole(11, pair=pair, last_id=14)]),
        Batch(pair, [one(pair, n) for n in (15, 16)], holes=[hole(18, pair=pair, last_id=18)]),
        Batch(pair, [one(pair, n) for n in (12, 13, 17, 18, 19)]),
        Batch(whole, [one(whole, 5)]),
    )
    found = resume_points(broker_settings, (pair, whole), 100_000)
    assert found[pair].trade.trade_id == 19
    assert [(one.first_id, one.last_id) for one in found[pair].holes] == [(11, 14), (18, 18)]
    assert (found[pair].published, found[whole].published) == (frozenset({12, 13, 18}), frozenset())


@pytest.mark.component
def test_a_restart_goes_on_behind_the_newest_trade_although_a_late_one_lies_last(
    broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    admin.apply(broker_admin, broker_settings)
    pair = "LATELAST/USD"
    for ids in (range(1, 11), range(12, 31), range(11, 12)):
        publish(broker_settings, Batch(pair, [one(pair, number) for number in ids]))
    rows = [row for part in last_records(broker_settings, TRADES, 100_000).values() for row in part]
    assert msgspec.json.decode([row.value or b"" for row in rows if row.key == pair.encode()][-1])[0]["trade_id"] == 11
    assert resume_points(broker_settings, (pair,), 100_000)[pair].trade.trade_id == 30


@pytest.mark.component
@pytest.mark.proof
def test_a_process_that_dies_with_an_open_hole_leaves_none(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    """REST is away until the first one has let trades go on above its holes and is killed; the next one fills them."""
    admin.apply(broker_admin, broker_settings)
    pair = "LEFTOPEN/USD"
    faults = '{"drop_every":700,"drop_run":3,"rest_errors":[' + ",".join(['"unavailable"'] * 8) + "]}"
    stack = IngestStack(
        tmp_path,
        broker_settings,
        TICKCAST_PAIRS=pair,
        TICKCAST_SINCE="0",
        TICKCAST_REPAIR_WAIT_S="0.3",
        TICKCAST_LEASE_S="1",
        TICKCAST_SIM_FAULTS=faults,
    )

    def told() -> list[Hole]:
        rows = [row for part in last_records(broker_settings, HOLES, 100_000).values() for row in part]
        return [msgspec.json.decode(row.value or b"", type=Hole) for row in rows if row.key == pair.encode()]

    def passed() -> bool:
        point = resume_points(broker_settings, (pair,), 100_000).get(pair)
        return point is not None and any(one.last_id < point.trade.trade_id for one in point.holes)

    with stack.runs("sim"):
        with stack.runs("ingest") as one:
            wait_for(passed)
            os.kill(one.pid, signal.SIGKILL)
            one.wait()
        left = still_open(told())[pair]
        lost = {number for one in left for number in range(one.first_id, one.last_id + 1)}
        assert lost.isdisjoint(trade.trade_id for trade in published(broker_settings, pair))
        with stack.runs("ingest"):
            wait_for(lambda: not any(one.first_id <= left[-1].last_id for one in still_open(told()).get(pair, [])))
            # The record that closes a hole comes behind the trades that fill it.
            assert lost <= {trade.trade_id for trade in published(broker_settings, pair)}
