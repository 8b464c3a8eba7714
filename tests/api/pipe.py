"""A wire that keeps what it gets and is shut by the test."""

from __future__ import annotations

from collections.abc import Callable


class Pipe:
    def __init__(self) -> None:
        self.open = True
        self.got: list[bytes] = []
        self._told: tuple[Callable[[], None], Callable[[], None]] | None = None

    def write(self, frame: bytes) -> None:
        assert self.open
        self.got.append(frame)

    def watch(self, on_shut: Callable[[], None], on_open: Callable[[], None]) -> None:
        self._told = (on_shut, on_open)

    def abort(self) -> None:
        self.open = False

    def turn(self, *, to_open: bool) -> None:
        assert self._told
        self.open = to_open
        self._told[to_open]()

    def lose(self) -> None:
        assert self._told
        self.open = False
        self._told[True]()
