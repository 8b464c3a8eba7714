"""Recorded trades as a source: exact, streaming, at the recorded pace times N or as fast as it goes."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from agents.trades.fields import check_side, check_time, positive, rfc3339_ns, trade_number
from agents.trades.refusals import FieldError, Refusal
from agents.trades.rows import Row, open_rows
from agents.trades.source import Batch, Counters, Resume
from redpanda.errors import ConfigError
from tables.records import Side, Trade
from tables.status import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from agents.trades.settings import IngestSettings

__all__ = ["ReplaySource", "read_trades"]

log = logging.getLogger("tickcast.trades")

CHUNK_TRADES: Final = 2_000
NS_DIGITS: Final = 19


class ReplaySource:
    """Publishes a file of recorded trades; blank trade_ids count a pair's trades in file order from 1."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._path = settings.replay_file
        self._pairs = frozenset(settings.pairs)
        self._from_ns = _bound(settings.replay_from, "TICKCAST_REPLAY_FROM", 0)
        self._to_ns = _bound(settings.replay_to, "TICKCAST_REPLAY_TO", 2**63 - 1)
        self._counters = Counters()
        self._behind: dict[str, int] = {}
        self._size = 0
        self._last: dict[str, Trade] = {}
        self._state = "starting"
        self._abandoned = False

    @property
    def counters(self) -> Counters:
        """Counts so far."""
        return self._counters

    @property
    def state(self) -> str:
        """`starting`, `backfill` or `done`."""
        return self._state

    @property
    def progress(self) -> Progress | None:
        """Bytes of the file."""
        if self._state == "starting":
            return None
        behind = self._size if self._state == "done" else min(self._behind.values(), default=0)
        return Progress(f"replay {self._path.name}, bytes", min(behind, self._size), self._size)

    @property
    def detail(self) -> dict[str, object]:
        """Facts for the operator."""
        return {"file": str(self._path), "speed": self._settings.replay_speed}

    async def batches(self, resume: dict[str, Resume]) -> AsyncGenerator[Batch, None]:
        """Yield the file's trades; a pair in `resume` goes on behind its last published one.

        Raises
        ------
        ConfigError
            The topic's last trade is not in this file.
        """
        self._last = {pair: last.trade for pair, last in resume.items()}
        for pair, last in self._last.items():
            log.info("%s: the topic ends with trade %d, going on behind it", pair, last.trade_id)
        items = self._merged() if self._settings.replay_speed else self._items(None)
        self._size = self._path.stat().st_size if self._path.exists() else 0
        self._state = "backfill"
        try:
            async for chunk in self._paced(items):
                for batch in _by_pair(chunk):
                    yield batch
        finally:
            self._abandoned = True
        left = [pair for pair in self._last if not self._pairs or pair in self._pairs]
        if left:
            last = self._last[left[0]]
            raise ConfigError(
                f"topic trades ends with {left[0]} trade {last.trade_id} at {last.price}, which is not in "
                f"{self._path}: use another TICKCAST_HOME for another recording"
            )
        self._state = "done"

    def _merged(self) -> Iterator[Trade | Refusal]:
        """Pairs merged by time in constant memory: one reader a pair, whatever the file's order."""
        pairs = self._pairs or {item.pair for item in self._items(None) if isinstance(item, Trade)}
        self._counters = Counters()
        readers = [self._only_trades(pair) for pair in sorted(pairs)]
        yield from heapq.merge(*readers, key=attrgetter("ts_ns"))

    def _only_trades(self, pair: str) -> Iterator[Trade]:
        return (item for item in self._items(pair) if isinstance(item, Trade))

    def _items(self, only: str | None) -> Iterator[Trade | Refusal]:
        """Trades and refusals in file order, of one pair or of all."""
        numbers: dict[str, int] = {}
        received_ns = time.time_ns()
        label = only or ""
        for row in open_rows(self._path, lambda behind: self._behind.__setitem__(label, behind)):
            if self._abandoned:
                return
            if isinstance(row, Refusal):
                yield row
                continue
            if (only is not None and row.symbol != only) or (self._pairs and row.symbol not in self._pairs):
                self._counters.skipped += 1
                continue
            try:
                trade = _trade(row, numbers, received_ns)
            except FieldError as error:
                detail = f"line {row.line} of {self._path.name}: {error.detail}"
                yield Refusal(error.reason, detail, _payload(row), row.symbol)
                continue
            if self._wanted(trade):
                yield trade

    def _wanted(self, trade: Trade) -> bool:
        if not self._from_ns <= trade.ts_ns < self._to_ns:
            self._counters.skipped += 1
            return False
        if trade.pair in self._last:
            self._pass(trade)
            return False
        self._counters.read += 1
        return True

    def _pass(self, trade: Trade) -> None:
        """Count a trade that the topic holds already; behind the last of them the pair goes on."""
        self._counters.skipped += 1
        last = self._last[trade.pair]
        same = (trade.trade_id, trade.ts_ns, trade.price, trade.qty)
        if same == (last.trade_id, last.ts_ns, last.price, last.qty):
            del self._last[trade.pair]

    async def _paced(self, items: Iterator[Trade | Refusal]) -> AsyncGenerator[list[Trade | Refusal], None]:
        """Chunks of what is due. A thread reads: passing over a long file must not hold up the loop."""
        speed = self._settings.replay_speed
        first_ns: int | None = None
        begin_s = time.monotonic()
        while read := await asyncio.to_thread(lambda: list(islice(items, CHUNK_TRADES))):
            chunk: list[Trade | Refusal] = []
            for item in read:
                if speed and isinstance(item, Trade):
                    if first_ns is None:
                        first_ns, begin_s = item.ts_ns, time.monotonic()
                    due_s = begin_s + (item.ts_ns - first_ns) / 1e9 / speed
                    if chunk and due_s > time.monotonic():
                        yield chunk
                        chunk = []
                    if (wait_s := due_s - time.monotonic()) > 0:
                        await asyncio.sleep(wait_s)
                chunk.append(item)
            yield chunk


def read_trades(settings: IngestSettings) -> Iterator[Trade | Refusal]:
    """Every trade and refusal of the file of `settings`, in file order, as the service publishes them."""
    return ReplaySource(settings)._items(None)  # noqa: SLF001  # the same module


def _by_pair(chunk: list[Trade | Refusal]) -> Iterator[Batch]:
    groups: dict[str, Batch] = {}
    for item in chunk:
        batch = groups.get(item.pair)
        if batch is None:
            batch = groups[item.pair] = Batch(item.pair, [], [])
        if isinstance(item, Trade):
            batch.trades.append(item)
        else:
            batch.refusals.append(item)
    yield from groups.values()


def _trade(row: Row, numbers: dict[str, int], received_ns: int) -> Trade:
    """Check one row. A refused row takes no number, so that a pair's numbers have no hole."""
    symbol = row.symbol
    if not symbol or len(symbol) > 32 or "/" not in symbol:  # noqa: PLR2004  # chars of a symbol
        raise FieldError("unknown-pair", f"symbol is {symbol[:40]!r}")
    if not (row.price and row.qty and row.timestamp):
        raise FieldError("missing-field", "price, qty or timestamp is empty")
    price, qty = positive(row.price, "price"), positive(row.qty, "qty")
    side: Side = check_side(row.side) if row.side else ""
    stamp = row.timestamp
    ts_ns = int(stamp) if len(stamp) <= NS_DIGITS and stamp.isdecimal() else rfc3339_ns(stamp)
    check_time(ts_ns, received_ns)
    number = trade_number(row.trade_id) if row.trade_id else numbers.get(symbol, 0) + 1
    numbers[symbol] = number
    ord_type = row.ord_type if row.ord_type in ("market", "limit") else ""
    return Trade(symbol, number, ts_ns, price, qty, side, ord_type, "replay")


def _payload(row: Row) -> str:
    parts = (row.symbol, row.price, row.qty, row.side, row.ord_type, row.trade_id, row.timestamp)
    return ",".join(parts)


def _bound(text: str, setting: str, default: int) -> int:
    try:
        return rfc3339_ns(text) if text else default
    except FieldError as error:
        raise ConfigError(f"{setting}: {error.detail}; write 2018-05-13T00:00:00Z") from error
