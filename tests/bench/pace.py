"""Trades in real time: seeded Poisson arrivals, given to the ingest's own publisher. A process of its own.

`python -m tests.bench.pace PLAN.json` writes `plan.out`: pair, trade_id, ts_ns and produced_ns of every trade, the
last being the wall clock at which the trade was handed to the publisher, as a source of the ingest hands it over.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from agents.trades.publish import Publisher, open_producer
from agents.trades.source import Batch
from redpanda.settings import BrokerSettings
from tables.records import Trade
from tests.bench.synthetic import Walk

__all__ = ["Plan", "schedule"]

HEAD_START_S = 0.2
MAX_IN_FLIGHT = 100_000
ACK_TIMEOUT_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    """What to publish."""

    broker_url: str
    pairs: list[str]
    trades_per_s: float
    """Mean of all pairs together."""
    seconds: float
    speed: float
    """Seconds of event time in a second of wall time."""
    start_ns: int
    """Event time of the first second (ns)."""
    next_ids: dict[str, int]
    seed: int
    linger_ms: int
    """As TICKCAST_LINGER_MS of the ingest."""
    out: str


def schedule(plan: Plan) -> tuple[list[float], list[Trade]]:
    """Give when each trade is due (s from the start) and the trade itself."""
    chance = np.random.default_rng(plan.seed)
    gaps = chance.exponential(1 / plan.trades_per_s, int(plan.trades_per_s * plan.seconds))
    due_s = np.cumsum(gaps).tolist()
    which = chance.integers(len(plan.pairs), size=len(due_s)).tolist()
    walk = Walk(plan.pairs, plan.seed, plan.next_ids)
    trades = [
        walk.trade(plan.pairs[pair], plan.start_ns + int(at_s * plan.speed * 1e9))
        for at_s, pair in zip(due_s, which, strict=True)
    ]
    return due_s, trades


async def _publish(plan: Plan, due_s: list[float], trades: list[Trade]) -> tuple[list[int], list[float]]:
    producer = await asyncio.to_thread(open_producer, BrokerSettings(broker_url=plan.broker_url))
    publisher = Publisher(producer, plan.linger_ms, MAX_IN_FLIGHT)
    produced_ns: list[int] = []
    behind_s: list[float] = []
    start_s = time.monotonic() + HEAD_START_S
    for at_s, trade in zip(due_s, trades, strict=True):
        if (wait_s := start_s + at_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        behind_s.append(time.monotonic() - start_s - at_s)
        produced_ns.append(time.time_ns())
        await publisher.publish(Batch(trade.pair, [trade]))
    async with asyncio.timeout(ACK_TIMEOUT_S):
        await publisher.drain()
    await publisher.close(ACK_TIMEOUT_S)
    return produced_ns, behind_s


def main(file: Path) -> None:
    plan = msgspec.json.decode(file.read_bytes(), type=Plan)
    due_s, trades = schedule(plan)
    gc.freeze()  # a collection over half a million trades would stand in somebody's latency
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        produced_ns, behind_s = runner.run(_publish(plan, due_s, trades))
    number = {pair: at for at, pair in enumerate(plan.pairs)}
    np.savez(
        plan.out,
        pair=np.array([number[trade.pair] for trade in trades], dtype=np.int64),
        trade_id=np.array([trade.trade_id for trade in trades], dtype=np.int64),
        ts_ns=np.array([trade.ts_ns for trade in trades], dtype=np.int64),
        produced_ns=np.array(produced_ns, dtype=np.int64),
        behind_ms=np.array(behind_s) * 1e3,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
