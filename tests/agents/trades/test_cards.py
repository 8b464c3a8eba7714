"""The conformance cards over every source that they are for: real clients over sockets, and a file."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agents.trades.refusals import Refusal
from agents.trades.replay import ReplaySource
from agents.trades.settings import Faults, ingest_settings
from agents.trades.sim.market import Market
from agents.trades.sim.server import SimServer
from agents.trades.source import Resume
from redpanda.errors import ConfigError
from tables.records import Trade
from tests.agents.trades.cards import CARDS, PAGE, SOURCES, page, sources_of
from tests.support.coinbase import CoinbaseServer
from tests.support.exchange import Seen, busy_market, true_trades, watch

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.proof

PAIR = "BTC/USD"
SERVERS: dict[str, type[SimServer | CoinbaseServer]] = {"kraken": SimServer, "coinbase": CoinbaseServer}
LABELS = {"kraken": "sim", "coinbase": "coinbase", "replay": "replay"}


def card(number: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("source", sources_of(number))


def seen_of(
    source: str,
    until: Callable[[Seen], bool],
    faults: Faults | None = None,
    listed: str = PAIR,
    resume: dict[str, Resume] | None = None,
    market: dict[str, object] | None = None,
    **values: object,
) -> Seen:
    return watch(busy_market(listed, faults, **(market or {})), until, resume, SERVERS[source], **values)


def replayed(
    folder: Path, trades: list[Trade], *broken: str, resume: Trade | None = None
) -> tuple[list[Trade], list[Refusal]]:
    """Write a recording, play it, and give what came."""
    file = folder / "trades.csv"
    rows = [
        f"{one.pair},{one.price!r},{one.qty!r},{one.side},{one.ord_type},{one.trade_id},{one.ts_ns}" for one in trades
    ]
    rows[len(rows) // 2 : len(rows) // 2] = broken
    file.write_text("symbol,price,qty,side,ord_type,trade_id,timestamp\n" + "\n".join(rows) + "\n")
    source = ReplaySource(ingest_settings(source=f"replay:{file}", pairs=PAIR))
    out: list[Trade] = []
    refusals: list[Refusal] = []

    async def play() -> None:
        async for batch in source.batches({PAIR: Resume(resume)} if resume is not None else {}):
            out.extend(batch.trades)
            refusals.extend(batch.refusals)

    asyncio.run(play())
    return out, refusals


def recording(count: int = 500) -> list[Trade]:
    market = Market(7, 20_000.0)
    first = market.first_id_at(PAIR, time.time_ns() - 3_600_000_000_000)
    return true_trades(market, PAIR, set(range(first, first + count)), "replay")


@card(1)
def test_card_01_connect(source: str, tmp_path: Path) -> None:
    if source == "replay":
        trades = recording()
        assert replayed(tmp_path, trades)[0] == trades
        return
    pairs = "BTC/USD,ETH/USD"
    seen = seen_of(
        source, lambda seen: all(seen.live_ids(pair, 2_600) for pair in pairs.split(",")), None, pairs, since="5s"
    )
    for pair in pairs.split(","):
        assert seen.contiguous(pair)
        assert {trade.source for trade in seen.trades[pair]} == {LABELS[source]}
        since_ns = seen.source._started_ns - 5_000_000_000
        assert seen.trades[pair][0].ts_ns < since_ns + 200_000_000  # all of the history that was asked for
    assert not seen.refusals
    assert seen.source.counters.unrepairable == 0


@card(2)
def test_card_02_snapshot(source: str) -> None:
    seen = seen_of(source, lambda seen: seen.live_ids(PAIR, 300), since="0", quiet_check_s=60.0)
    assert seen.contiguous(PAIR)
    assert seen.server.rest_calls <= seen.source.counters.holes
    assert seen.trades[PAIR][0].ts_ns < time.time_ns()


@card(3)
def test_card_03_resume(source: str, tmp_path: Path) -> None:
    if source == "replay":
        trades = recording()
        assert replayed(tmp_path, trades, resume=trades[199])[0] == trades[200:]
        with pytest.raises(ConfigError, match="another TICKCAST_HOME"):
            replayed(tmp_path, trades[300:], resume=trades[199])
        return
    last = seen_of(source, lambda seen: seen.live_ids(PAIR, 300)).trades[PAIR][-1]
    resume = {PAIR: Resume(last)}
    seen = seen_of(source, lambda seen: seen.live_ids(PAIR, 300), resume=resume, since="1d")
    assert seen.ids(PAIR)[0] == last.trade_id + 1
    assert seen.contiguous(PAIR)
    with pytest.raises(ConfigError, match="another TICKCAST_HOME"):
        seen_of(source, lambda _: False, resume=resume, market={"seed": 8})


@card(4)
@pytest.mark.parametrize(
    "faults", [Faults(drop_every=100), Faults(drop_every=4_000, drop_run=1_500)], ids=["one", "page"]
)
def test_card_04_hole(source: str, faults: Faults) -> None:
    seen = seen_of(
        source,
        lambda seen: seen.live_ids(PAIR, 6_000) and seen.source.counters.repaired > 0,
        faults,
        market={"trades_per_min": 60_000},
    )
    assert seen.contiguous(PAIR)
    assert not seen.given_up
    states = [state for _, state in seen.hole_states(PAIR).values()]
    assert "repaired" in states
    opened = {hole.first_id for hole in seen.holes if hole.state == "open"}
    assert {hole.first_id for hole in seen.holes} == opened


@card(5)
def test_card_05_duplicate(source: str) -> None:
    seen = seen_of(
        source,
        lambda seen: seen.source.counters.duplicate > 60 and seen.live_ids(PAIR, 600),
        Faults(duplicate_every=2),
        since="0",
    )
    assert seen.contiguous(PAIR)


@card(6)
def test_card_06_order(source: str) -> None:
    seen = seen_of(source, lambda seen: seen.live_ids(PAIR, 1_000), Faults(reorder=True), since="0")
    assert seen.contiguous(PAIR)
    assert not seen.given_up
    if source == "kraken":  # Coinbase has one trade a frame: there disorder is a hole until the next frame
        assert not seen.holes


@card(7)
@pytest.mark.parametrize("faults", [Faults(silent_after=5), Faults(disconnect_after=8)], ids=["silent", "1006"])
def test_card_07_silence(source: str, faults: Faults) -> None:
    seen = seen_of(
        source, lambda seen: seen.server.connections >= 2 and seen.live_ids(PAIR, 800), faults, silence_s=1.2
    )
    assert seen.contiguous(PAIR)
    assert seen.source.counters.reconnects >= 1


@card(8)
def test_card_08_refusal(source: str) -> None:
    seen = seen_of(
        source,
        lambda seen: seen.live_ids(PAIR, 800),
        Faults(refuse=("ETH/USD",)),
        "BTC/USD,ETH/USD",
        pairs="BTC/USD,ETH/USD,XXX/USD",
    )
    assert seen.contiguous(PAIR)
    refused = seen.source.detail["refused"]
    assert isinstance(refused, dict)
    assert refused["XXX/USD"] == "not listed"
    assert "ETH" in refused["ETH/USD"]


@card(9)
def test_card_09_throttle(source: str) -> None:
    faults = Faults(rest_errors=("throttle", "unavailable", "html", "http-503", "throttle"))
    seen = seen_of(source, lambda seen: seen.live_ids(PAIR, 900), faults)
    assert seen.contiguous(PAIR)
    assert seen.server.rest_calls > 5 - 2


@card(10)
def test_card_10_malformed(source: str, tmp_path: Path) -> None:
    if source == "replay":
        trades = recording()
        out, refusals = replayed(tmp_path, trades, f"{PAIR},-1.0,1,buy,,,2024-01-01T00:00:00Z", "x,y")
        assert out == trades
        assert {refusal.reason for refusal in refusals} == {"price-not-positive", "malformed-row"}
        return
    faults = Faults(malformed_every=5, bad_trade_every=100)
    seen = seen_of(
        source,
        lambda seen: (
            {one.reason for one in seen.refusals} == {"malformed-frame", "price-not-positive"}
            and seen.live_ids(PAIR, 1_200)
            and seen.source.counters.repaired >= 3
        ),
        faults,
    )
    assert seen.contiguous(PAIR)
    assert seen.true(PAIR)


@card(11)
def test_card_11_precision(source: str, tmp_path: Path) -> None:
    if source == "replay":
        trades = recording(2_000)
        assert replayed(tmp_path, trades)[0] == trades
        return
    pairs = "BTC/USD,ADA/USD"  # 1 and 4 decimals and more
    seen = seen_of(source, lambda seen: all(seen.live_ids(pair, 1_500) for pair in pairs.split(",")), None, pairs)
    for pair in pairs.split(","):
        assert seen.true(pair)
        assert {trade.side for trade in seen.trades[pair]} == {"buy", "sell"}


def test_every_card_is_a_test_and_every_source_has_a_test_or_a_reason() -> None:
    tests = sorted(name for name in globals() if name.startswith("test_card_"))
    assert tests == [f"test_card_{one.number:02d}_{one.name}" for one in CARDS]
    assert [one.number for one in CARDS] == list(range(1, len(CARDS) + 1))
    for one in CARDS:
        assert set(one.not_for) < set(SOURCES)
        assert all(one.not_for.values())


def test_the_page_of_the_cards_is_current() -> None:
    assert PAGE.read_text() == page()
