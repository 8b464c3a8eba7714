"""Scorer stage: `forecasts` and `candles` in, `forecast-errors` out; one row a pair in a RocksDB table.

What its drift detectors say (`ml.drift`) goes to `alerts` and `train-requests` before the row is written: after a
crash it is said again, with the times of the same outcomes.

Chunks of both topics change the same rows, so those of one partition take turns: a row that is written holds nothing
that was not delivered before.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from agents.send import Record, deliver, deliver_dead_letters, encode
from agents.stage import Decoder, WorkerState, dead_letter, register
from ml.scoring import PairScores, scores_key
from redpanda.topics import ALERTS, CANDLES, FORECAST_ERRORS, FORECASTS, TRAIN_REQUESTS
from tables.features.fold import refusal
from tables.records import Candle, DeadLetter, Forecast, ForecastError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.chunk import Chunk
    from agents.chunk_app import ChunkApp
    from ml.settings import DriftSettings
    from tables.records import Alert, TrainRequest

__all__ = ["ScorerStage"]

_STAGE: Final = "scorer"


class ScorerStage:
    """The thin shell around `ml.scoring`; same order of effects as the candles stage."""

    def __init__(self, app: ChunkApp, state: WorkerState, table: Any, revisable_ms: int, rules: DriftSettings) -> None:
        self._app = app
        self._state = state
        self._table = table
        self._revisable_ms = revisable_ms
        self._rules = rules
        self._candles: Decoder[Candle] = Decoder(Candle)
        self._forecasts: Decoder[Forecast] = Decoder(Forecast)
        self._folds: dict[int, dict[str, PairScores]] = {}
        self._generation: dict[int, int] = {}
        self._turn: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Of each partition: whose chunk is being made durable."""
        register(app, state, FORECASTS, f"{_STAGE}-{FORECASTS}", self.handle_forecasts)
        register(app, state, CANDLES, f"{_STAGE}-{CANDLES}", self.handle_candles)

    async def handle_forecasts(self, chunk: Chunk) -> None:
        """Fold one chunk of forecasts and make its effects durable."""
        rows, letters = self._forecasts.decode(chunk, _STAGE)
        async with self._turn[chunk.tp.partition]:
            folds, touched, errors = self._folds_of(chunk), set(), []
            now_ms = time.time_ns() // 1_000_000
            for at, row in rows:
                if reason := _refusal(row):
                    letters.append(dead_letter(chunk, at, _STAGE, reason, f"forecast {row}"))
                    continue
                touched.add(row.pair)
                errors += self._fold(folds, row.pair).forecast(row, now_ms)
            await self._settle(chunk, folds, touched, errors, letters)

    async def handle_candles(self, chunk: Chunk) -> None:
        """Fold one chunk of candles and make its effects durable."""
        # A bad candle is the features stage's to refuse: one dead letter is enough.
        rows, _ = self._candles.decode(chunk, _STAGE)
        async with self._turn[chunk.tp.partition]:
            folds, touched, errors = self._folds_of(chunk), set(), []
            now_ms = time.time_ns() // 1_000_000
            for _, row in rows:
                if row.timeframe == "1m" and row.closed and not refusal(row):
                    touched.add(row.pair)
                    errors += self._fold(folds, row.pair).candle(row, now_ms)
            await self._settle(chunk, folds, touched, errors, [])

    def _folds_of(self, chunk: Chunk) -> dict[str, PairScores]:
        """Give the pairs of a partition; after a rebalance they are read from the table again."""
        partition = chunk.tp.partition
        if self._generation.get(partition) != chunk.generation:
            self._generation[partition] = chunk.generation
            self._folds[partition] = {}
        return self._folds[partition]

    def _fold(self, folds: dict[str, PairScores], pair: str) -> PairScores:
        fold = folds.get(pair)
        if fold is None:
            fold = folds[pair] = PairScores(pair, self._revisable_ms, self._table.get, self._rules)
        return fold

    async def _settle(
        self,
        chunk: Chunk,
        folds: dict[str, PairScores],
        touched: set[str],
        errors: list[ForecastError],
        letters: list[DeadLetter],
    ) -> None:
        if not await self._app.owns(chunk):
            return
        told = [folds[pair].told() for pair in sorted(touched)]
        alerts = [one for some in told for one in some.alerts]
        requests = [one for some in told for one in some.requests]
        await deliver(self._app, FORECAST_ERRORS, chunk.tp.partition, _records(errors))
        await deliver(self._app, ALERTS, chunk.tp.partition, _records(alerts))
        await deliver(self._app, TRAIN_REQUESTS, 0, _records(requests))  # it has one partition
        await deliver_dead_letters(self._app, chunk.tp.partition, letters)
        if not await self._app.owns(chunk):
            return
        for pair in sorted(touched):
            fold = folds[pair]
            # Also where nothing changed: after a crash the changelog may lack what the folder has.
            self._table[scores_key(pair)] = fold.pack()
            self._state.counters["scored_too_late"] += fold.too_old
            fold.too_old = 0
            for horizon_s, figures in fold.figures().items():
                self._state.scores[pair, horizon_s] = figures
        self._state.counters["forecast_errors"] += len(errors)
        self._state.counters["alerts"] += len(alerts)
        self._state.counters["train_requests"] += len(requests)
        self._state.counters["dead_letters"] += len(letters)
        chunk.done()


def _records(rows: Sequence[ForecastError | Alert | TrainRequest]) -> list[Record]:
    return [(one.pair.encode(), encode(one)) for one in rows]


def _refusal(row: Forecast) -> str:
    """Say why a forecast cannot be scored; empty where it can."""
    prices = (row.base_price, row.q05, row.q25, row.q50, row.q75, row.q95)
    if not all(isfinite(price) and price > 0 for price in prices):
        return "price-not-positive"
    if not (isfinite(row.sigma_bps) and row.sigma_bps >= 0):
        return "sigma-not-finite"
    return ""
