"""A loop whose clock jumps to its next timer: waits cost nothing and are exact. Not for sockets and threads."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["run_at_once"]

Result = TypeVar("Result")


class _Jump(selectors.DefaultSelector):
    """Instead of waiting, tell how long the wait would have been."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is left that could happen"
        self.waited_s += timeout
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.waited_s


def run_at_once(work: Coroutine[object, object, Result]) -> Result:
    """Run a coroutine on a clock that begins at 0.0 s and passes only in waits."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)
