"""The live source beyond the cards: the real client against the simulated exchange, over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from agents.trades import kraken_columns
from agents.trades.exchange import Page
from agents.trades.exchanges import exchange_of, kraken
from agents.trades.exchanges.kraken import decode_page
from agents.trades.live import LiveSource
from agents.trades.outbox import Outbox
from agents.trades.pair import PairFollower
from agents.trades.rest import Rest
from agents.trades.settings import Faults
from agents.trades.sim.server import SimServer
from agents.trades.source import Resume
from redpanda.errors import ConfigError, UnreachableError
from tests.support.coinbase import CoinbaseServer
from tests.support.exchange import DEADLINE_S, Seen, busy_market, client, true_trades, watch
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

PAIR = "BTC/USD"


def reasons(seen: Seen) -> set[str]:
    return {refusal.reason for refusal in seen.refusals}


def test_ties_across_pages_are_read_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kraken, kraken_columns):  # what is asked for, what is counted
        monkeypatch.setattr(module, "PAGE_ROWS", 25)
    monkeypatch.setattr(kraken_columns, "DISORDER_IDS", 5)
    market = busy_market(trades_per_min=12_000)
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 2_500), since="10s")
    assert seen.contiguous(PAIR)
    assert seen.server.rest_calls >= 40
    # The list of pairs, which the server does not count, and one that may be on its way at the end.
    assert 1 <= seen.source.counters.rest_calls - seen.server.rest_calls <= 2
    # About two in five trades share their time with the one before: many pages end between two of them.
    ties = sum(one.ts_ns == two.ts_ns for one, two in itertools.pairwise(seen.trades[PAIR]))
    assert ties > 500
    assert seen.source.counters.unrepairable == 0


def test_another_market_behind_the_same_ids_is_refused() -> None:
    market = busy_market()
    before = watch(market, lambda seen: seen.live_ids(PAIR, 100))
    resume = {PAIR: Resume(before.trades[PAIR][-1])}
    with pytest.raises(ConfigError, match="another TICKCAST_HOME"):
        watch(busy_market(seed=market.seed + 1), lambda _: False, resume=resume)
    with pytest.raises(ConfigError, match="another TICKCAST_HOME"):
        watch(busy_market(seed=market.seed, trades_per_min=15_000), lambda _: False, resume=resume)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(drop_every=40, drop_run=15, duplicate_every=3, reorder=True),
        Faults(drop_every=4_000, drop_run=1_500, reorder=True),
    ],
    ids=["duplicates", "longer-than-a-page"],
)
def test_a_hole_amid_disorder_is_repaired_from_rest(faults: Faults) -> None:
    market = busy_market(faults=faults, trades_per_min=60_000)
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 6_000) and seen.source.counters.repaired > 0)
    assert seen.contiguous(PAIR)
    assert seen.source.counters.holes > 0
    facts = seen.source.detail["ids"]
    assert isinstance(facts, dict)
    assert facts[PAIR]["contiguous_to"] >= seen.ids(PAIR)[-1]
    assert facts[PAIR]["repaired"] == seen.source.counters.repaired > 0
    assert facts[PAIR]["unrepairable"] == 0
    assert seen.source.counters.unrepairable == 0


def test_a_refused_symbol_is_still_followed_over_rest() -> None:
    market = busy_market(faults=Faults(refuse=(PAIR,)))
    history = 2 * 433  # two seconds at this rate
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 2 * history), quiet_check_s=0.3)
    assert seen.contiguous(PAIR)


def test_heartbeats_that_name_the_newest_trade_show_what_the_socket_lacks() -> None:
    market = busy_market(faults=Faults(drop_every=1))
    # On a slow machine history may reach so far before any of it is live.
    seen = watch(
        market,
        lambda seen: seen.live_ids(PAIR, 1_500) and seen.source.counters.repaired > 300,
        exchange=CoinbaseServer,
        quiet_check_s=60.0,
    )
    assert seen.contiguous(PAIR)
    assert seen.true(PAIR)
    assert seen.source.counters.repaired > 300


def test_a_source_that_is_left_has_ended_its_jobs_and_calls_rest_no_more() -> None:
    async def leave() -> tuple[set[str], object]:
        server = SimServer(busy_market())
        await server.start()
        source = LiveSource(client(server, since="1h", rest_per_s=20.0))
        before = asyncio.all_tasks()
        try:
            async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(source.batches({})) as batches:
                async for _ in batches:
                    break
            running = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - before}
            return running & {"Feed.run", "PairFollower.run", "LiveSource._watch"}, source._rest._session
        finally:
            await server.stop()

    assert asyncio.run(leave()) == (set(), None)


def test_an_unlisted_symbol_is_named_and_the_others_go_on() -> None:
    market = busy_market()
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 500), pairs="BTC/USD,XXX/USD")
    assert seen.source.detail["refused"] == {"XXX/USD": "not listed"}
    with pytest.raises(ConfigError, match="TICKCAST_PAIRS"):
        watch(market, lambda _: False, pairs="XXX/USD")


def test_a_bad_trade_is_refused_and_its_true_form_fetched() -> None:
    market = busy_market(faults=Faults(bad_trade_every=50))
    seen = watch(market, lambda seen: len(seen.refusals) >= 3 and seen.live_ids(PAIR, 1_000), since="0")
    assert reasons(seen) == {"price-not-positive"}
    assert seen.contiguous(PAIR)
    assert seen.source.counters.repaired >= 3


def test_an_unreachable_exchange_is_one_error_that_names_the_setting() -> None:
    async def gone() -> None:
        server = SimServer(busy_market())
        await server.start()
        settings = client(server)
        await server.stop()
        rest = Rest(exchange_of("sim"), settings.rest_url, 100.0)
        try:
            await rest.names((PAIR,), tries=2)
        finally:
            await rest.close()

    with pytest.raises(UnreachableError, match="TICKCAST_EXCHANGE_REST_URL"):
        asyncio.run(gone())


def test_the_simulator_answers_as_kraken_does() -> None:
    async def talk() -> list[dict[str, object]]:
        server = SimServer(busy_market(trades_per_min=1.0, seed=7))
        await server.start()
        answers: list[dict[str, object]] = []
        try:
            async with connect(f"ws://127.0.0.1:{server.port}/v2") as websocket:
                answers.append(json.loads(await websocket.recv()))
                for request in (
                    {"method": "ping", "req_id": 5},
                    {"method": "subscribe", "params": {"channel": "trade", "symbol": [PAIR], "snapshot": True}},
                    {"method": "subscribe", "params": {"channel": "trade", "symbol": [PAIR, "XBT/USD"]}},
                    {"method": "dance"},
                ):
                    await websocket.send(json.dumps(request))
                await websocket.send("not json")
                while len(answers) < 9:
                    answer = json.loads(await websocket.recv())
                    if (answer.get("channel"), answer.get("type")) != ("trade", "update"):  # one may come any time
                        answers.append(answer)
        finally:
            await server.stop()
        return answers

    async def bounded() -> list[dict[str, object]]:
        async with asyncio.timeout(10):
            return await talk()

    status, pong, ack, snapshot, again, refused, unknown, broken, beat = asyncio.run(bounded())
    assert status["channel"] == "status"
    assert (pong["method"], pong["req_id"]) == ("pong", 5)
    assert ack["result"] == {"channel": "trade", "snapshot": True, "symbol": PAIR}
    assert (snapshot["type"], len(snapshot["data"])) == ("snapshot", 50)  # type: ignore[arg-type]  # a list
    assert (again["error"], again["symbol"]) == ("Already subscribed", PAIR)
    assert (refused["error"], refused["success"]) == ("Currency pair not supported XBT/USD", False)
    assert unknown["error"] == "Unsupported event"
    assert broken["error"] == "Malformed request"
    assert beat == {"channel": "heartbeat"}


def lossy(every: int, run: int) -> Callable[[bytes, str, int, str, int], Page]:
    """Make a decoder of pages that lack ids, as REST may."""

    def decode(body: bytes, pair: str, received_ns: int, source: str, since_ns: int) -> Page:
        page = decode_page(body, pair, received_ns, source, since_ns)
        page.trades = [trade for trade in page.trades if trade.trade_id % every >= run]
        return page

    return decode


def missing_of(seen: Seen) -> list[int]:
    ids = seen.ids(PAIR)
    return sorted(set(range(ids[0], ids[-1])) - set(ids))


def test_a_hole_that_rest_lacks_too_is_given_up_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kraken, "decode_page", lossy(700, 2))
    market = busy_market(faults=Faults(drop_every=700, drop_run=2))
    seen = watch(market, lambda seen: seen.given_up and seen.live_ids(PAIR, 900), repair_tries=1, since="0")
    ids = seen.ids(PAIR)
    missing = missing_of(seen)
    assert ids == sorted(ids)
    assert missing
    assert {one % 700 for one in missing} <= {0, 1}
    states = seen.hole_states(PAIR)
    # A snapshot may have one of the two: then the hole is the other.
    holes = {one: one + (one + 1 in missing) for one in missing if one - 1 not in missing}
    assert {first: last for first, (last, state) in states.items() if state == "unrepairable"} == holes
    assert not seen.refusals


def test_a_history_full_of_holes_does_not_keep_the_pair_from_going_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kraken, "decode_page", lossy(50, 1))
    market = busy_market(faults=Faults(drop_every=50), trades_per_min=30_000)
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 5_000), since="20s", repair_tries=5)
    assert {one % 50 for one in missing_of(seen)} == {0}
    given_up = sum(hole.state == "unrepairable" for hole in seen.holes)
    assert given_up >= 100
    # The source was live when the last batch came: some pages of the first live moments are counted as well.
    assert seen.server.rest_calls < 3 * len(seen.ids(PAIR)) / 1_000 + 20  # one page answers for all its holes


def test_live_trades_wait_for_a_hole_no_longer_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kraken, "decode_page", lossy(400, 3))
    market = busy_market(faults=Faults(drop_every=400, drop_run=3))
    seen = watch(market, lambda seen: seen.live_ids(PAIR, 1_500), since="0", repair_tries=50, repair_wait_s=0.3)
    assert seen.source.counters.unrepairable == 0
    assert seen.source.counters.holes >= 3
    assert missing_of(seen)


def test_a_hole_that_was_passed_is_still_repaired_and_its_trades_come_late() -> None:
    faults = Faults(drop_every=400, drop_run=3, rest_errors=("throttle",) * 4)
    market = busy_market(faults=faults)
    seen = watch(
        market,
        lambda seen: seen.ids(PAIR) != sorted(seen.ids(PAIR)) and seen.live_ids(PAIR, 800) and not missing_of(seen),
        since="0",
        repair_wait_s=0.3,
    )
    ids = seen.ids(PAIR)
    assert len(ids) == len(set(ids))
    assert "repaired" in {state for _, state in seen.hole_states(PAIR).values()}


def test_a_socket_that_came_after_history_had_ended_is_no_hole() -> None:
    async def join() -> PairFollower:
        server = SimServer(busy_market())
        await server.start()
        settings = client(server, since="3s")
        rest = Rest(exchange_of("sim"), settings.rest_url, 500.0)
        outbox = Outbox(asyncio.Event())
        outbox.room.set()
        follower = PairFollower(PAIR, settings, "sim", rest, outbox)
        try:
            await rest.names((PAIR,))
            follower.start_ns = time.time_ns() - 3_000_000_000
            await follower._backfill()
            first = follower.ledger.high + 20
            there = lambda: server.market.first_id_at(PAIR, time.time_ns()) > first  # noqa: E731  # short
            await until(there, DEADLINE_S)
            follower.take(true_trades(server.market, PAIR, {first}, "sim"))
            await follower._join()
            follower.ledger.go_live(0.0)
        finally:
            await rest.close()
            await server.stop()
        return follower

    ledger = asyncio.run(join()).ledger
    assert ledger.released > 500
    assert (ledger.holes, ledger.pending) == (0, {})
