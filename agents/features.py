"""Features stage: closed `candles` in, `features` out; state in a RocksDB table, one row a pair and timeframe."""

from __future__ import annotations

from typing import Any, Final

from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.send import Record, deliver, deliver_dead_letters, encode
from agents.stage import Decoder, WorkerState, dead_letter, register
from redpanda.topics import CANDLES, FEATURES
from tables.features.fold import PairFeatures, features_key, refusal
from tables.records import Candle

__all__ = ["FeaturesStage"]

_STAGE: Final = "features"


class FeaturesStage:
    """The thin shell around `tables.features`; same order of effects as the candles stage."""

    def __init__(self, app: ChunkApp, state: WorkerState, table: Any, revisable_ms: int) -> None:
        self._app = app
        self._state = state
        self._table = table
        self._revisable_ms = revisable_ms
        self._decoder: Decoder[Candle] = Decoder(Candle)
        self._folds: dict[int, dict[tuple[str, str], PairFeatures]] = {}
        self._generation: dict[int, int] = {}
        register(app, state, CANDLES, _STAGE, self.handle)

    async def handle(self, chunk: Chunk) -> None:
        """Fold one chunk of candles and make its effects durable."""
        partition = chunk.tp.partition
        if self._generation.get(partition) != chunk.generation:
            self._generation[partition] = chunk.generation
            self._folds[partition] = {}
        folds = self._folds[partition]
        candles, letters = self._decoder.decode(chunk, _STAGE)
        waiting: dict[tuple[str, str], list[Candle]] = {}
        for at, candle in candles:
            if not candle.closed:
                continue
            if reason := refusal(candle):
                letters.append(dead_letter(chunk, at, _STAGE, reason, f"candle {candle}"))
                continue
            waiting.setdefault((candle.pair, candle.timeframe), []).append(candle)
        rows: list[Record] = []
        for key, part in waiting.items():
            fold = folds.get(key) or self._load(folds, key)
            too_old = fold.too_old
            rows += [(key[0].encode(), encode(row)) for row in fold.apply_all(part)]
            # Older than the ring: the candle is corrected, its features stay as they were.
            self._state.counters["corrections_too_old"] += fold.too_old - too_old
        if not await self._app.owns(chunk):
            return
        await deliver(self._app, FEATURES, partition, rows)
        await deliver_dead_letters(self._app, partition, letters)
        if not await self._app.owns(chunk):
            return
        for key in sorted(waiting):
            self._table[features_key(*key)] = folds[key].pack()
        self._state.counters["features"] += len(rows)
        self._state.counters["dead_letters"] += len(letters)
        chunk.done()

    def _load(self, folds: dict[tuple[str, str], PairFeatures], key: tuple[str, str]) -> PairFeatures:
        fold = folds[key] = PairFeatures(*key, self._revisable_ms, self._table.get)
        if fold.started_over:
            # Its features are None until warm again (docs/adr/0008-features.md).
            self._state.counters["feature_states_discarded"] += 1
        return fold
