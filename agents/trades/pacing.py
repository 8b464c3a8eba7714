"""Waits: a back-off that doubles, and one budget of REST calls that serves the urgent first."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Final

__all__ = ["Backoff", "Budget"]

URGENT_IN_A_ROW: Final = 3
"""After as many urgent calls a waiting page of history gets its turn: holes without end must not stop history."""


class Backoff:
    """Waits that double up to a cap, each drawn at random from its upper half."""

    def __init__(self, base_s: float, cap_s: float) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self.attempts = 0

    def next_s(self) -> float:
        """Length of the next wait."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  # spreads clients, hides nothing

    def reset(self) -> None:
        """Start small again."""
        self.attempts = 0


class Budget:
    """At most `calls_per_s` calls a second; repairs of live pairs go before pages of history."""

    def __init__(self, calls_per_s: float) -> None:
        self.gap_s = 1.0 / calls_per_s
        self._next_call_s = 0.0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._patient: deque[asyncio.Future[None]] = deque()
        self._in_a_row = 0
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, *, urgent: bool) -> None:
        """Wait for a call's turn."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._patient).append(future)
        self._arm()
        await future

    def hold(self, wait_s: float) -> None:
        """Let no call start for `wait_s`: the exchange asked for patience, whichever call it answered."""
        self._next_call_s = max(self._next_call_s, asyncio.get_running_loop().time() + wait_s)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._next_call_s, self._grant)

    def _grant(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        if self._next_call_s > now_s:  # held meanwhile
            self._arm()
            return
        future = self._pick()
        if future is None:
            return
        self._next_call_s = now_s + self.gap_s
        future.set_result(None)
        if self._urgent or self._patient:
            self._arm()

    def _pick(self) -> asyncio.Future[None] | None:
        """Oldest urgent call, but for every fourth turn; a call that was given up meanwhile takes none."""
        for queue in (self._urgent, self._patient):
            while queue and queue[0].done():
                queue.popleft()
        if self._urgent and not (self._patient and self._in_a_row >= URGENT_IN_A_ROW):
            self._in_a_row += 1
            return self._urgent.popleft()
        self._in_a_row = 0
        return self._patient.popleft() if self._patient else None
