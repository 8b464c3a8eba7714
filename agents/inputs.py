"""Inputs stage: `features` in, `alerts` and `train-requests` out, where the inputs of a model have moved.

It shares the scorer's table, with a row of its own a pair, and the champions with the predictor. What a row was
compared with is the champion of that moment: a replay after a promotion compares with another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agents.send import deliver, encode
from agents.stage import Decoder, WorkerState, register
from ml.drift import Told
from ml.input_drift import PairInputs, inputs_key
from redpanda.topics import ALERTS, FEATURES, TRAIN_REQUESTS
from tables.records import Features

if TYPE_CHECKING:
    from agents.champions import ChampionWatch
    from agents.chunk import Chunk
    from agents.chunk_app import ChunkApp
    from ml.settings import DriftSettings

__all__ = ["InputsStage"]

_STAGE: Final = "inputs"
_LOOK_S: Final = 0.1


class InputsStage:
    """The thin shell around `ml.input_drift`; same order of effects as the scorer."""

    def __init__(
        self, app: ChunkApp, state: WorkerState, table: Any, watch: ChampionWatch, rules: DriftSettings
    ) -> None:
        self._app = app
        self._state = state
        self._table = table
        self._watch = watch
        self._rules = rules
        self._decoder: Decoder[Features] = Decoder(Features)
        self._folds: dict[int, dict[str, PairInputs]] = {}
        self._generation: dict[int, int] = {}
        register(app, state, FEATURES, f"{_STAGE}-{FEATURES}", self.handle)

    async def handle(self, chunk: Chunk) -> None:
        """Count the inputs of a chunk of features and make the effects durable."""
        while not (self._watch.models or self._watch.has_looked or self._app.should_stop):
            await self._app.sleep(_LOOK_S)  # the predictor sees to it that this ends
        # A bad record is the predictor's to refuse: one dead letter is enough.
        rows, _ = self._decoder.decode(chunk, _STAGE)
        folds, told, touched = self._folds_of(chunk), Told(), set()
        models = self._watch.models
        for _, row in rows:
            if row.timeframe == "1m":
                fold = folds.get(row.pair)
                if fold is None:
                    fold = folds[row.pair] = PairInputs(row.pair, self._table.get)
                fold.take(row, models, self._rules, told)
                touched.add(row.pair)
        if not await self._app.owns(chunk):
            return
        partition = chunk.tp.partition
        await deliver(self._app, ALERTS, partition, [(one.pair.encode(), encode(one)) for one in told.alerts])
        await deliver(self._app, TRAIN_REQUESTS, 0, [(one.pair.encode(), encode(one)) for one in told.requests])
        if not await self._app.owns(chunk):
            return
        for pair in sorted(touched):
            fold = folds[pair]
            if fold.row.newest_ms:  # while the baseline serves there is nothing to keep
                self._table[inputs_key(pair)] = fold.pack()
            self._state.input_drift[pair] = fold.figures()
        self._state.counters["alerts"] += len(told.alerts)
        self._state.counters["train_requests"] += len(told.requests)
        chunk.done()

    def _folds_of(self, chunk: Chunk) -> dict[str, PairInputs]:
        """Give the pairs of a partition; after a rebalance they are read from the table again."""
        partition = chunk.tp.partition
        if self._generation.get(partition) != chunk.generation:
            self._generation[partition] = chunk.generation
            self._folds[partition] = {}
        return self._folds[partition]
