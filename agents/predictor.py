"""Predictor stage: `features` of closed 1m candles in, `forecasts` out, by whichever models are champion.

`forecast-errors` come back and move the intervals (`ml.corrections`): that state is a RocksDB table, one row a pair.

A thread follows the champion aliases (`agents.champions`); a new model is loaded and proven there and then swapped in
by one assignment.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from agents.champions import ChampionWatch
from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.send import Record, deliver, deliver_dead_letters, encode
from agents.stage import Decoder, WorkerState, dead_letter, register
from ml.corrections import PairCorrections, corrections_key
from ml.model import ForecastModel
from ml.rolling import Rolling, correct
from ml.row_inputs import row_inputs
from ml.trust import SOUND, Standing, doubts
from redpanda.errors import BadInputError
from redpanda.topics import FEATURES, FORECAST_ERRORS, FORECASTS
from tables.records import MINUTE_MS, DeadLetter, Features, Forecast, ForecastError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PredictorStage", "forecast"]

logger = logging.getLogger("tickcast.predictor")

_STAGE: Final = "predictor"
_LOOK_S: Final = 0.1
"""Time between looks at what the thread has found."""
_FIRST_LOOK_S: Final = 20.0
"""How long the first candles wait for the registry; importing MLflow, where that is needed, takes half of it."""


def forecast(
    row: Features,
    model: ForecastModel,
    now_ms: int,
    rolling: Rolling | None = None,
    standing: Standing = SOUND,
    x: npt.NDArray[np.float32] | None = None,
) -> Forecast | None:
    """Make one forecast, its intervals moved by `rolling`; None while the volatility of the pair is unknown.

    `x` is `row_inputs(row)` where a caller asks several models.

    Raises
    ------
    BadInputError
        The row was made with other feature definitions than the model.

    """
    quantiles = model.quantiles(row, None if rolling is None else partial(correct, state=rolling), x)
    if quantiles is None:
        return None
    closed_ms = row.open_ms + MINUTE_MS
    reasons = doubts(row, now_ms, standing)
    target_ms = closed_ms + model.horizon_s * 1_000
    return Forecast(
        pair=row.pair,
        horizon_s=model.horizon_s,
        made_at_ms=now_ms,
        feature_open_ms=row.open_ms,
        target_ms=target_ms,
        base_price=row.close,
        q05=quantiles.q05,
        q25=quantiles.q25,
        q50=quantiles.q50,
        q75=quantiles.q75,
        q95=quantiles.q95,
        p_up=quantiles.p_up,
        sigma_bps=quantiles.sigma_bps,
        model=model.name,
        model_version=model.version,
        model_alias=model.alias,
        feature_set=row.feature_set,
        trusted=not reasons,
        reasons=reasons,
        expires_at_ms=target_ms,
        revision=row.revision,
        source=row.source,
    )


class PredictorStage:
    """The shell around the models. A candle is answered once: what is corrected later would know what came after it.

    It does not store what it answered: rows that come again after a restart are answered again, and the store keeps
    the first.
    """

    def __init__(self, app: ChunkApp, state: WorkerState, watch: ChampionWatch, table: Any) -> None:
        self._app = app
        self._state = state
        self._table = table
        self._corrections: dict[int, dict[str, PairCorrections]] = {}
        self._generation: dict[int, int] = {}
        self._errors: Decoder[ForecastError] = Decoder(ForecastError)
        self._watch = watch
        self._decoder: Decoder[Features] = Decoder(Features)
        self._unanswered: dict[str, tuple[int, Features]] = {}
        """Partition and newest row of each pair, while there is no model to answer it."""
        self._answered_ms: dict[str, int] = {}
        """open_ms of the newest row of each pair that was answered in the life of this worker."""
        register(app, state, FEATURES, _STAGE, self.handle)
        register(app, state, FORECAST_ERRORS, f"{_STAGE}-{FORECAST_ERRORS}", self.handle_errors)
        app.task(self._follow)

    async def _follow(self) -> None:
        self._watch.start()
        try:
            while not self._app.should_stop:
                if self._watch.failure is not None:
                    self._state.failed = f"{_STAGE}: {self._watch.failure!r}"
                    await self._app.crash(self._watch.failure)
                    return
                self._tell()
                if self._watch.models and self._unanswered:
                    await self._answer()
                await self._app.sleep(_LOOK_S)
        finally:
            self._watch.stop()

    def _tell(self) -> None:
        self._state.models = self._watch.report(time.time_ns() // 1_000_000)
        self._state.champions = {
            str(horizon_s): f"{model.name} v{model.version}"
            for horizon_s, model in self._watch.models.items()
            if self._watch.standing(model).is_champion
        }

    async def _first_look(self) -> None:
        """Wait until the registry was asked once: after a restart the rows that come first must not find no model."""
        deadline_s = time.monotonic() + _FIRST_LOOK_S
        while not (self._watch.has_looked or self._watch.models or self._app.should_stop):
            if time.monotonic() > deadline_s:
                logger.warning("The model registry has not answered for %.0f s: going on without", _FIRST_LOOK_S)
                self._watch.stand_in()
            else:
                await self._app.sleep(_LOOK_S / 10)

    async def _answer(self) -> None:
        """Forecast the newest rows as soon as there is a model, instead of a candle later."""
        rows, self._unanswered = self._unanswered, {}
        now_ms = time.time_ns() // 1_000_000
        for partition, row in rows.values():
            try:
                # Without corrections: there were no forecasts that anything could have been learned of.
                x = row_inputs(row)
                found = [
                    forecast(row, model, now_ms, standing=self._watch.standing(model), x=x)
                    for model in self._watch.models.values()
                ]
            except BadInputError as error:
                logger.warning("The newest candle of %s stays without forecast: %s", row.pair, error)
                continue
            made = [one for one in found if one is not None]
            await deliver(self._app, FORECASTS, partition, [(one.pair.encode(), encode(one)) for one in made])
            self._remember(made, now_ms)

    async def handle(self, chunk: Chunk) -> None:
        """Forecast every closed 1m candle of a chunk."""
        if not self._watch.models:
            await self._first_look()
        rows, letters = self._decoder.decode(chunk, _STAGE)
        now_ms = time.time_ns() // 1_000_000
        made: list[Forecast] = []
        answered_ms = dict(self._answered_ms)
        for at, row in rows:
            if row.timeframe == "1m" and not self._is_answered(row, answered_ms.get(row.pair)):
                found = self._forecasts(chunk, at, row, now_ms, letters)
                if found:
                    answered_ms[row.pair] = row.open_ms
                made += found
        if not await self._app.owns(chunk):
            return
        records: list[Record] = [(one.pair.encode(), encode(one)) for one in made]
        await deliver(self._app, FORECASTS, chunk.tp.partition, records)
        await deliver_dead_letters(self._app, chunk.tp.partition, letters)
        self._remember(made, now_ms)
        self._state.counters["dead_letters"] += len(letters)
        chunk.done()

    async def handle_errors(self, chunk: Chunk) -> None:
        """Learn from scored forecasts; one that comes again changes nothing."""
        rows, letters = self._errors.decode(chunk, _STAGE)
        touched: dict[str, PairCorrections] = {}
        for _, error in rows:
            fold = touched[error.pair] = self._corrections_of(chunk, error.pair)
            fold.take(error)
        if not await self._app.owns(chunk):
            return
        await deliver_dead_letters(self._app, chunk.tp.partition, letters)
        if not await self._app.owns(chunk):
            return
        for pair, fold in sorted(touched.items()):
            self._table[corrections_key(pair)] = fold.pack()
        self._state.counters["dead_letters"] += len(letters)
        chunk.done()

    def _corrections_of(self, chunk: Chunk, pair: str) -> PairCorrections:
        """Give what was learned of a pair; after a rebalance it is read from the table again."""
        partition = chunk.tp.partition
        if self._generation.get(partition) != chunk.generation:
            self._generation[partition] = chunk.generation
            self._corrections[partition] = {}
        found = self._corrections[partition].get(pair)
        if found is None:
            found = self._corrections[partition][pair] = PairCorrections(pair, self._table.get)
        return found

    def _is_answered(self, row: Features, answered_ms: int | None) -> bool:
        if answered_ms is None:
            # The row that is corrected lies before it in the log: it was answered, unless nothing could be.
            return row.revision > 0 and bool(self._watch.models)
        return row.open_ms <= answered_ms

    def _forecasts(
        self, chunk: Chunk, at: int, row: Features, now_ms: int, letters: list[DeadLetter]
    ) -> list[Forecast]:
        made: list[Forecast] = []
        models: dict[int, Any] = self._watch.models
        if not models:
            self._state.counters["rows_without_model"] += 1
            self._unanswered[row.pair] = (chunk.tp.partition, row)
        learned = self._corrections_of(chunk, row.pair)
        x = row_inputs(row)
        for model in models.values():
            try:
                moved = learned.is_drifting(model) or self._state.inputs_moved(row.pair, model)
                standing = replace(self._watch.standing(model), is_drifting=moved)
                one = forecast(row, model, now_ms, learned.of(model), standing, x)
            except BadInputError as error:
                letters.append(dead_letter(chunk, at, _STAGE, "wrong-feature-set", str(error)))
                break
            if one is None:
                self._state.counters["rows_without_volatility"] += 1
            else:
                made.append(one)
        return made

    def _remember(self, made: list[Forecast], now_ms: int) -> None:
        self._state.counters["forecasts"] += len(made)
        for one in made:
            self._state.forecasts[one.pair, one.horizon_s] = msgspec.to_builtins(one)
            self._answered_ms[one.pair] = max(one.feature_open_ms, self._answered_ms.get(one.pair, -1))
        # A forecast of a candle of long ago, made while history is read, is not yet what a user waits for.
        fresh = any("stale" not in one.reasons or one.source == "replay" for one in made)
        if fresh and self._state.first_forecast_at_ms is None:
            self._state.first_forecast_at_ms = now_ms
