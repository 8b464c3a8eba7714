"""Wait for a condition instead of a time: `wait_for` in a thread, `until` in a loop whose state the condition reads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found | None], timeout_s: float = 20.0, every_s: float = 0.02) -> Found:
    """Give the first true answer of `condition`; fail after the deadline."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {timeout_s:g} s")


async def until(condition: Callable[[], Found | None], timeout_s: float = 20.0) -> Found:
    """Give the first true answer of `condition` while the loop runs on; fail after the deadline."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {timeout_s:g} s")
