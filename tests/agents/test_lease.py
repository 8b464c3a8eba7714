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
