"""The simulated exchange and the real client on loopback sockets, in one loop, until something has happened."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import msgspec

from agents.trades.live import LiveSource
from agents.trades.settings import Faults, IngestSettings, SimSettings, ingest_settings, sim_settings
from agents.trades.sim.market import LOTS, Market, profile_of
from agents.trades.sim.server import SimServer
from tables.records import Side, Trade
from tests.support.coinbase import CoinbaseServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.trades.refusals import Refusal
    from agents.trades.source import Resume
    from tables.records import Hole, HoleState

__all__ = ["DEADLINE_S", "Seen", "busy_market", "client", "steady_seed", "true_trades", "watch"]

DEADLINE_S = 20.0
STEP_S = 2


class Seen(msgspec.Struct):
    """What the client gave out, in order."""

    source: LiveSource
    server: SimServer | CoinbaseServer
    trades: dict[str, list[Trade]] = {}
    refusals: list[Refusal] = []
    holes: list[Hole] = []

    def ids(self, pair: str) -> list[int]:
        """Give the ids of one pair in the order they came."""
        return [trade.trade_id for trade in self.trades.get(pair, [])]

    def contiguous(self, pair: str) -> bool:
        """Tell whether each id came once, in order, without a hole."""
        ids = self.ids(pair)
        return bool(ids) and ids == list(range(ids[0], ids[0] + len(ids)))

    def hole_states(self, pair: str) -> dict[int, tuple[int, HoleState]]:
        """Give the last id and the newest state of each hole, by its first id."""
        return {hole.first_id: (hole.last_id, hole.state) for hole in self.holes if hole.pair == pair}

    def true(self, pair: str) -> bool:
        """Tell whether every trade of the pair is the exchange's, to the digit, and none is made up."""
        trades = self.trades[pair]
        return trades == true_trades(self.server.market, pair, {trade.trade_id for trade in trades}, trades[0].source)

    @property
    def given_up(self) -> bool:
        """Tell whether any hole was given up."""
        return any(hole.state == "unrepairable" for hole in self.holes)

    def live_ids(self, pair: str, count: int) -> bool:
        """Tell whether the pair is live and at least `count` trades came."""
        return self.source.state == "live" and len(self.trades.get(pair, [])) >= count


def true_trades(market: Market, pair: str, ids: set[int], source: str) -> list[Trade]:
    """Make the trades of a market from its ticks and lots, past every wire."""
    unit = 10 ** profile_of(pair).decimals
    trades: list[Trade] = []
    for block, start, stop in market.slices(pair, min(ids), max(ids) + 1):
        for row in range(start, stop):
            trade_id = block.first_id + row
            if trade_id in ids:
                price, qty = int(block.ticks[row]) / unit, int(block.lots[row]) / LOTS
                side: Side = "buy" if block.buy[row] else "sell"
                kind = ("market" if block.market[row] else "limit") if source == "sim" else ""
                trades.append(Trade(pair, trade_id, int(block.ts_ns[row]), price, qty, side, kind, source))
    return trades


def busy_market(pairs: str = "BTC/USD", faults: Faults | None = None, **values: object) -> SimSettings:
    """Make a market of a few hundred trades a second, so that a test sees much in little time."""
    fixed = {"port": 0, "pairs": pairs, "trades_per_min": 20_000, "tick_ms": 20, "faults": faults or Faults()} | values
    market = sim_settings(**fixed)
    return market if "seed" in values else market.model_copy(update={"seed": steady_seed(market)})


def steady_seed(market: SimSettings) -> int:
    """Give a seed whose pairs trade at 0.5 to 2 times their mean from 10 s ago until 40 s from now.

    Calm and bursts come by the clock: what a test waits for would hang on the hour at which it runs.
    """
    now_ns = market.now_ns()
    for seed in range(market.seed, market.seed + 1_000):
        drawn = Market(seed, market.trades_per_min)
        if all(_is_steady(drawn, pair, market.trades_per_min, now_ns) for pair in market.pairs):
            return seed
    raise AssertionError(f"no steady market of {market.pairs}")


def _is_steady(drawn: Market, pair: str, trades_per_min: float, now_ns: int) -> bool:
    mean = trades_per_min * profile_of(pair).activity / 60.0 * STEP_S
    ids = [drawn.first_id_at(pair, now_ns + at_s * 1_000_000_000) for at_s in range(-10, 41, STEP_S)]
    return all(0.5 * mean <= after - before <= 2.0 * mean for before, after in itertools.pairwise(ids))


def client(server: SimServer | CoinbaseServer, **values: object) -> IngestSettings:
    """Make settings of a client of `server`."""
    pairs = ",".join(server.settings.pairs)
    defaults = {"source": "sim", "pairs": pairs, "sim_port": server.port, "since": "2s", "backoff_max_s": 0.2}
    if isinstance(server, CoinbaseServer):
        address = f"127.0.0.1:{server.port}"
        urls = {"exchange_ws_url": f"ws://{address}/", "exchange_rest_url": f"http://{address}"}
        defaults |= {"source": "coinbase", "rest_per_s": 500.0} | urls
    return ingest_settings(**defaults | values)


def watch(
    market: SimSettings,
    until: Callable[[Seen], bool],
    resume: dict[str, Resume] | None = None,
    exchange: type[SimServer | CoinbaseServer] = SimServer,
    **values: object,
) -> Seen:
    """Run the client against the simulated exchange until `until` holds; fails at the deadline."""

    async def go() -> Seen:
        server = exchange(market)
        await server.start()
        source = LiveSource(client(server, **values))
        seen = Seen(source, server)
        try:
            async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(source.batches(resume or {})) as batches:
                async for batch in batches:
                    seen.trades.setdefault(batch.pair, []).extend(batch.trades)
                    seen.refusals.extend(batch.refusals)
                    seen.holes.extend(batch.holes)
                    if until(seen):
                        return seen
        finally:
            await server.stop()
        raise AssertionError("the source ended by itself")

    return asyncio.run(go())
