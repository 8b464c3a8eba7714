"""The contract that every source of trades keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agents.trades.refusals import Refusal
    from tables.records import Hole, Trade
    from tables.status import Progress

__all__ = ["Batch", "Counters", "Resume", "TradeSource"]


class Batch(msgspec.Struct):
    """Some trades of one pair, in the order to publish, and what was refused on the way."""

    pair: str
    trades: list[Trade] = []
    refusals: list[Refusal] = []
    holes: list[Hole] = []
    """Holes found, filled or given up."""


class Resume(msgspec.Struct, frozen=True):
    """Last trade of a pair that the topic holds, and the holes below and above it that nobody has closed."""

    trade: Trade
    holes: list[Hole] = []
    published: frozenset[int] = frozenset()
    """Ids of these holes that the topic holds: who told of the hole has filled it, and died before it said so."""


class Counters(msgspec.Struct):
    """What a source did since it started (counts)."""

    read: int = 0
    """Trades decoded, duplicates included."""
    duplicate: int = 0
    holes: int = 0
    repaired: int = 0
    """Ids that REST gave after the socket had not."""
    unrepairable: int = 0
    overflow: int = 0
    reconnects: int = 0
    skipped: int = 0
    """Replay: rows of pairs or times that were not asked for."""
    rest_calls: int = 0
    """Requests sent to the exchange's REST API."""


class TradeSource(Protocol):
    """One exchange, simulator or file."""

    @property
    def counters(self) -> Counters:
        """Counts so far."""

    @property
    def state(self) -> str:
        """`starting`, `backfill`, `live`, `reconnecting`, `maintenance` or `done`."""

    @property
    def progress(self) -> Progress | None:
        """The job with a known end, if there is one."""

    @property
    def detail(self) -> dict[str, object]:
        """Facts for the operator, by name: refused symbols, holes that are open."""

    def batches(self, resume: dict[str, Resume]) -> AsyncGenerator[Batch, None]:
        """Yield each trade once; a pair in `resume` continues behind its last published trade."""
