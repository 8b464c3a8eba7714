"""The lease of a worker: what it may publish after a long sleep."""

from __future__ import annotations

import asyncio

from agents.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Coordinator:
    """A group coordinator whose heartbeats take a while and are answered as told."""

    def __init__(self, clock: Clock, answers: list[bool]) -> None:
        self._clock = clock
        self._answers = answers
        self._closing = self
        self.closed = False
        self.resets = 0

    def done(self) -> bool:
        return self.closed

    def reset_generation(self) -> None:
        self.resets += 1

    async def _do_heartbeat(self) -> bool:
        self._clock.now_s += 0.5
        return self._answers.pop(0)


def test_lease_ends_one_session_after_the_heartbeat_was_sent() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    assert not lease.is_valid()
    coordinator = Coordinator(clock, [True, False])
    lease.watch(coordinator)
    assert asyncio.run(coordinator._do_heartbeat())
    clock.now_s = 105.9
    assert lease.is_valid()
    assert not asyncio.run(coordinator._do_heartbeat())
    assert not lease.is_valid(), "a heartbeat without answer renews nothing"


def test_assignment_renews_the_lease() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    lease.renew()
    clock.now_s += 5.9
    assert lease.is_valid()
    clock.now_s += 0.1
    assert not lease.is_valid()


def test_what_was_made_before_a_lost_membership_is_not_covered_by_the_next() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    assert asyncio.run(lease.covers(90.0)) == [True], "nothing can be lost before the first assignment"
    lease.assigned()
    clock.now_s = 104.0
    assert asyncio.run(lease.covers(90.0, 104.0)) == [True, True]
    lease.lose()
    assert not lease.is_valid()
    assert asyncio.run(lease.covers(104.0)) == [False]
    clock.now_s = 110.0
    lease.assigned()
    assert asyncio.run(lease.covers(104.0, 110.0)) == [False, True]
    assert lease.losses == 1


def test_rebalance_in_order_keeps_what_was_made_before_it() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    lease.assigned()
    clock.now_s = 103.0
    lease.assigned()
    assert asyncio.run(lease.covers(101.0)) == [True]


def test_overdue_lease_is_waited_for_until_the_group_has_answered() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    coordinator = Coordinator(clock, [True])
    lease.watch(coordinator)
    lease.assigned()
    clock.now_s = 120.0

    async def go() -> list[bool]:
        waiting = asyncio.create_task(lease.covers(101.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        await coordinator._do_heartbeat()
        return await waiting

    assert asyncio.run(go()) == [True]


def test_group_that_does_not_know_the_worker_ends_the_membership() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    coordinator = Coordinator(clock, [])
    lease.watch(coordinator)
    lease.assigned()
    coordinator.reset_generation()
    assert lease.is_lost
    assert coordinator.resets == 1


def test_worker_that_left_in_order_sends_the_rest_and_waits_for_nobody() -> None:
    clock = Clock()
    lease = Lease(6.0, clock)
    coordinator = Coordinator(clock, [])
    lease.watch(coordinator)
    lease.assigned()
    coordinator.closed = True
    coordinator.reset_generation()
    assert asyncio.run(lease.covers(100.0)) == [True]
    clock.now_s = 106.0
    assert asyncio.run(lease.covers(100.0)) == [False], "the partitions may be another's by now"
