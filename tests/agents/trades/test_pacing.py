from __future__ import annotations

import asyncio

import pytest

from agents.trades.outbox import Outbox
from agents.trades.pacing import Budget
from agents.trades.source import Batch
from tables.records import Trade
from tests.support.clock import run_at_once


def turns(calls: list[tuple[str, bool]], per_s: float = 500.0) -> dict[str, float]:
    """Ask for turns all at once; give the names in the order they were served, and when (s)."""
    served: dict[str, float] = {}

    async def one(budget: Budget, name: str, urgent: bool) -> None:
        await budget.turn(urgent=urgent)
        served[name] = asyncio.get_running_loop().time()

    async def go() -> None:
        budget = Budget(per_s)
        await asyncio.gather(*(one(budget, name, urgent) for name, urgent in calls))

    run_at_once(go())
    return served


def test_repairs_go_before_history_that_came_earlier() -> None:
    assert list(turns([("h1", False), ("h2", False), ("r1", True), ("r2", True)])) == ["r1", "r2", "h1", "h2"]


def test_repairs_without_end_leave_history_every_fourth_turn() -> None:
    served = turns([(f"h{number}", False) for number in range(3)] + [(f"r{number}", True) for number in range(9)])
    assert [name[0] for name in served] == ["r", "r", "r", "h"] * 3


def test_calls_keep_their_distance() -> None:
    served = turns([(f"h{number}", False) for number in range(11)], per_s=100.0)
    assert list(served.values()) == pytest.approx([number / 100.0 for number in range(11)])


def test_a_held_budget_serves_nobody_meanwhile_and_a_call_that_was_given_up_takes_no_turn() -> None:
    async def go() -> list[float]:
        budget = Budget(5.0)
        clock_s = asyncio.get_running_loop().time
        await budget.turn(urgent=True)
        first_s = clock_s()
        gone = asyncio.create_task(budget.turn(urgent=True))
        kept = asyncio.create_task(budget.turn(urgent=False))
        budget.hold(0.3)
        await asyncio.sleep(0)  # both ask
        assert budget._urgent
        gone.cancel()
        await kept
        return [first_s, clock_s()]

    assert run_at_once(go()) == pytest.approx([0.0, 0.3])  # not a fifth of a second later, for the one that is gone


def test_history_stops_filling_the_outbox_long_before_the_socket_does() -> None:
    async def go() -> None:
        outbox = Outbox(room := asyncio.Event())
        room.set()
        trades = [Trade("BTC/USD", 1, 1, 1.0, 1.0, "buy")] * 1_000
        while outbox.slack.is_set():
            outbox.put(Batch("BTC/USD", trades))
        assert room.is_set()
        count = len(outbox._batches)
        while room.is_set():
            outbox.put(Batch("BTC/USD", trades))
        assert len(outbox._batches) >= 4 * count
        while len(outbox._batches):
            await outbox.get()
        assert room.is_set()
        assert outbox.slack.is_set()

    asyncio.run(go())
