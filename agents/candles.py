"""Candles stage: `trades` in, `candles`, `candles-live` and `trades-late` out; state in a RocksDB table.

Order of a chunk: fold, deliver and wait for the broker, write the table, say done. The table can so never be
ahead of what was delivered, and a crash anywhere repeats work that the fold and the sinks absorb.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from aiokafka.partitioner import murmur2

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.send import Record, deliver, deliver_all, encode, encode_dead_letters
from agents.stage import Decoder, WorkerState, dead_letter, register
from redpanda.topics import CANDLES, CANDLES_LIVE, DEAD_LETTERS, TRADES, TRADES_LATE
from tables.candles import CandleRules, FoldOutput, PairCandles
from tables.candles.feed_clock import FeedClock
from tables.candles.state import state_key
from tables.records import DeadLetter, Trade

__all__ = ["CandlesStage"]

LIVE_EVERY_S: Final = 0.2
_STAGE: Final = "candles"


class _Pair:
    """One pair on this worker."""

    __slots__ = ("fold", "live_at_s", "live_due", "seen_at_s")

    def __init__(self, fold: PairCandles) -> None:
        self.fold = fold
        self.seen_at_s = time.monotonic()
        self.live_at_s = 0.0
        self.live_due = False


class CandlesStage:
    """The thin shell around `tables.candles`."""

    def __init__(self, app: ChunkApp, state: WorkerState, table: Any, rules: CandleRules, partitions: int) -> None:
        self._app = app
        self._state = state
        self._table = table
        self._rules = rules
        self._partitions = partitions
        self._decoder: Decoder[list[Trade]] = Decoder(list[Trade])
        self._pairs: dict[int, dict[str, _Pair]] = {}
        self._generation: dict[int, int] = {}
        self._promised: set[int] = set()
        """Partitions whose live candles wait for their time."""
        self._feed = FeedClock(rules.feed_alive_ms)
        app.tick_topics.add(TRADES)
        register(app, state, TRADES, _STAGE, self.handle)

    async def handle(self, chunk: Chunk) -> None:
        """Fold one chunk (or tick) and make its effects durable."""
        pairs = self._pairs_of(chunk)
        letters: list[DeadLetter] = []
        now_ms: int | None = None
        if len(chunk):
            touched = self._apply(chunk, pairs, letters)
        else:
            touched = self._idle(pairs)
            now_ms = self._feed.now_ms(_monotonic_ms())
        outputs = [
            (pair, one.fold.settle(now_ms, feed_alive=self._is_silent(one.fold, now_ms)))
            for pair, one in touched.items()
        ]
        if not await self._app.owns(chunk):
            return
        await self._deliver(chunk, outputs, letters, pairs)
        if not await self._app.owns(chunk):
            return
        for pair, output in outputs:
            if output.row is not None:
                self._table[state_key(pair)] = output.row
        chunk.done()
        self._promise_live(chunk, pairs)
        if len(chunk):
            self._state.last_at_ns[_STAGE] = time.time_ns()

    def _pairs_of(self, chunk: Chunk) -> dict[str, _Pair]:
        """Give the pairs of a partition; after a rebalance they are read from the table again."""
        partition = chunk.tp.partition
        if self._generation.get(partition) != chunk.generation:
            self._generation[partition] = chunk.generation
            self._pairs[partition] = {
                pair: _Pair(self._load(pair)) for pair in self._known_pairs() if self._partition(pair) == partition
            }
            for one in self._pairs[partition].values():
                self._feed.recall(one.fold.state.as_of_ms, _monotonic_ms())
        return self._pairs[partition]

    def _known_pairs(self) -> list[str]:
        return [key.decode() for key in self._table]

    def _partition(self, pair: str) -> int:
        return int(murmur2(pair.encode()) & 0x7FFFFFFF) % self._partitions

    def _load(self, pair: str) -> PairCandles:
        return PairCandles(pair, self._rules, self._table.get)

    def _apply(self, chunk: Chunk, pairs: dict[str, _Pair], letters: list[DeadLetter]) -> dict[str, _Pair]:
        touched: dict[str, _Pair] = {}
        for block in self._decoder.blocks(chunk, _STAGE, letters):
            self._apply_block(chunk, block, pairs, touched, letters)
        return touched

    def _apply_block(
        self,
        chunk: Chunk,
        envelopes: Iterable[tuple[int, list[Trade]]],
        pairs: dict[str, _Pair],
        touched: dict[str, _Pair],
        letters: list[DeadLetter],
    ) -> None:
        # Envelopes of a pair with one append time, which is that of the producer's batch, are folded in one call.
        waiting: dict[str, tuple[int, list[Trade]]] = {}
        timestamps_ms = chunk.timestamps_ms
        for at, trades in envelopes:
            if not trades or trades[0].pair != trades[-1].pair:
                reason = "mixed-pairs" if trades else "empty-envelope"
                letters.append(dead_letter(chunk, at, _STAGE, reason, "an envelope holds 1..N trades of one pair"))
                continue
            pair, at_ms = trades[0].pair, timestamps_ms[at]
            before = waiting.get(pair)
            if before is not None and before[0] == at_ms:
                before[1].extend(trades)
                continue
            if before is not None:
                self._fold(pair, *before, pairs, touched)
            waiting[pair] = (at_ms, trades)
        for pair, (at_ms, trades) in waiting.items():
            self._fold(pair, at_ms, trades, pairs, touched)

    def _fold(
        self, pair: str, at_ms: int, trades: list[Trade], pairs: dict[str, _Pair], touched: dict[str, _Pair]
    ) -> None:
        one = touched.get(pair)
        if one is None:
            one = pairs.get(pair)
            if one is None:
                one = pairs[pair] = _Pair(self._load(pair))
            one.seen_at_s, one.live_due = time.monotonic(), True
            touched[pair] = one
        self._feed.note(at_ms, trades[-1].ts_ns, _monotonic_ms())
        one.fold.apply(trades, (at_ms + self._rules.future_tolerance_ms) * 1_000_000, at_ms)

    def _idle(self, pairs: dict[str, _Pair]) -> dict[str, _Pair]:
        limit_s = time.monotonic() - self._rules.idle_close_ms / 1_000
        return {pair: one for pair, one in pairs.items() if one.seen_at_s <= limit_s}

    def _is_silent(self, fold: PairCandles, now_ms: int | None) -> bool:
        return now_ms is not None and self._feed.is_silence(fold.state.max_ts_ns, now_ms)

    async def _deliver(
        self, chunk: Chunk, outputs: list[tuple[str, FoldOutput]], letters: list[DeadLetter], pairs: dict[str, _Pair]
    ) -> None:
        candles: list[Record] = []
        late: list[Record] = []
        counters = self._state.counters
        for pair, output in outputs:
            key = pair.encode()
            candles += [(key, encode(candle)) for candle in output.candles]
            late += [(key, encode(one)) for one in output.late]
            letters += [_refused(chunk, trade, reason) for trade, reason in output.refused]
            counters["trades"] += output.applied
            counters["duplicates"] += output.duplicates
            counters["late"] += len(output.late)
            counters["candles"] += len(output.candles)
        counters["dead_letters"] += len(letters)
        records = {
            CANDLES: candles,
            TRADES_LATE: late,
            DEAD_LETTERS: encode_dead_letters(letters),
            CANDLES_LIVE: self._live(pairs),
        }
        await deliver_all(self._app, chunk.tp.partition, records)

    def _promise_live(self, chunk: Chunk, pairs: dict[str, _Pair]) -> None:
        """See to it that a live candle that was held back goes out in time, whether or not a trade follows."""
        partition = chunk.tp.partition
        if partition in self._promised:
            return
        at_s = min((one.live_at_s for one in pairs.values() if one.live_due), default=None)
        if at_s is not None:
            self._promised.add(partition)
            self._app.add_future(self._keep_promise(chunk, pairs, at_s + LIVE_EVERY_S))

    async def _keep_promise(self, chunk: Chunk, pairs: dict[str, _Pair], at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - time.monotonic()))
        self._promised.discard(chunk.tp.partition)
        if self._pairs.get(chunk.tp.partition) is pairs and await self._app.owns(chunk):
            await deliver(self._app, CANDLES_LIVE, chunk.tp.partition, self._live(pairs))
            self._promise_live(chunk, pairs)

    def _live(self, pairs: dict[str, _Pair]) -> list[Record]:
        """Give the open 1m candles that changed, at most five a second a pair."""
        records: list[Record] = []
        now_s = time.monotonic()
        for pair, one in pairs.items():
            if not one.live_due or now_s - one.live_at_s < LIVE_EVERY_S:
                continue
            candle = one.fold.live()
            if candle is not None:
                records.append((pair.encode(), encode(candle)))
                self._state.live_close[pair] = candle.close
            one.live_at_s, one.live_due = now_s, False
        return records


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _refused(chunk: Chunk, trade: Trade, reason: str) -> DeadLetter:
    return DeadLetter(
        stage=_STAGE,
        reason=reason,
        detail=f"trade {trade.trade_id} at {trade.ts_ns} ns: price {trade.price}, qty {trade.qty}",
        payload=encode(trade).decode(),
        topic=chunk.tp.topic,
        partition=chunk.tp.partition,
        offset=chunk.first_offset,
        pair=trade.pair,
        at_ms=time.time_ns() // 1_000_000,
    )
