"""A late trade from end to end of the worker's stages: candles and features are corrected, forecasts stay."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from faust.types import TP

import agents.features
import agents.predictor
from agents.champions import ChampionWatch
from agents.chunk import Chunk
from agents.chunk_app import ChunkApp
from agents.features import FeaturesStage
from agents.predictor import PredictorStage
from agents.send import Record, encode
from agents.stage import WorkerState
from ml.baseline import BaselineModel
from ml.model import Origin
from ml.settings import MlSettings
from redpanda.topics import CANDLES, FEATURES, FORECAST_ERRORS, FORECASTS
from tables.candles import CandleRules, PairCandles
from tables.records import MINUTE_MS, Candle, Features, Forecast, ForecastError, Trade

PAIR = "BTC/USD"
RULES = CandleRules()
START_MS = 1_526_187_600_000
FOREVER_NS = 1 << 62
MINUTES = 47


class Stages:
    """The candle fold, then the real stages of features and forecasts, with what they deliver."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.table: dict[bytes, bytes] = {}
        self.rolling: dict[bytes, bytes] = {}
        self.sent: dict[str, list[bytes]] = {FEATURES: [], FORECASTS: []}
        self.fold = PairCandles(PAIR, RULES, self.table.get)
        self._offset = 0

        async def deliver(app: ChunkApp, topic: str, partition: int, records: Sequence[Record]) -> None:
            del app, partition
            self.sent[topic] += [value for _, value in records]

        async def deliver_dead_letters(app: ChunkApp, partition: int, letters: Sequence[Any]) -> None:
            del app, partition
            assert not letters

        for module in (agents.features, agents.predictor):
            patch.setattr(module, "deliver", deliver)
            patch.setattr(module, "deliver_dead_letters", deliver_dead_letters)
        self.features = FeaturesStage(self._app(), WorkerState(), self.table, RULES.lateness_ms + RULES.retention_ms)
        self.restart_predictor()

    def restart_predictor(self) -> None:
        watch = ChampionWatch(None, MlSettings())  # type: ignore[arg-type]  # never asked: the models are given
        watch.models = {horizon_s: BaselineModel(Origin(horizon_s)) for horizon_s in (60, 300)}
        self.predictor = PredictorStage(self._app(), WorkerState(), watch, self.rolling)

    @staticmethod
    def _app() -> ChunkApp:
        async def owns(chunk: Chunk) -> bool:
            del chunk
            return True

        app = ChunkApp("stages", broker="kafka://127.0.0.1:9", store="memory://", web_enabled=False)
        app.owns = owns  # type: ignore[method-assign]
        return app

    def _chunk(self, topic: str, values: Sequence[bytes]) -> Chunk:
        self._offset += len(values)
        first = self._offset - len(values)
        records: list[Any] = [
            ConsumerRecord(topic, 0, first + at, 0, 1, PAIR.encode(), value, None, 1, len(value), ())
            for at, value in enumerate(values)
        ]
        return Chunk(TP(topic, 0), records, 1, 1)

    def trade(self, trade_id: int, at_ms: int, price: float) -> tuple[list[Candle], list[Features], list[Forecast]]:
        """Give all that comes of one trade."""
        before = {topic: len(values) for topic, values in self.sent.items()}
        self.fold.apply([Trade(PAIR, trade_id, (START_MS + at_ms) * 1_000_000, price, 1.0, "buy")], FOREVER_NS, at_ms)
        candles = self.fold.settle().candles
        if candles:
            asyncio.run(self.features.handle(self._chunk(CANDLES, [encode(candle) for candle in candles])))
            self.predict(self.sent[FEATURES][before[FEATURES] :])
        return (
            candles,
            [msgspec.json.decode(value, type=Features) for value in self.sent[FEATURES][before[FEATURES] :]],
            [msgspec.json.decode(value, type=Forecast) for value in self.sent[FORECASTS][before[FORECASTS] :]],
        )

    def predict(self, rows: Sequence[bytes]) -> None:
        asyncio.run(self.predictor.handle(self._chunk(FEATURES, rows)))

    def history(self) -> list[Forecast]:
        """Trade for a while, once a minute, with one trade missing."""
        return [
            forecast
            for minute in range(MINUTES)
            for forecast in self.trade(minute + 1 + (minute >= MINUTES - 7), minute * MINUTE_MS, 100.0 + minute % 5)[2]
        ]


MISSED = (MINUTES - 6, (MINUTES - 8) * MINUTE_MS + 30_000, 130.0)
"""Id, time and price of the trade that comes late: of the eighth minute from the end."""


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    return Stages(monkeypatch)


def test_late_trade_corrects_candles_and_the_features_from_it_on(stages: Stages) -> None:
    stages.history()
    candles, rows, _ = stages.trade(*MISSED)
    missed_ms = START_MS + (MINUTES - 8) * MINUTE_MS
    corrected = {(one.timeframe, one.open_ms): one for one in candles}
    assert corrected["1m", missed_ms].close == 130.0
    assert {(frame, one.revision) for (frame, _), one in corrected.items()} == {("1m", 1), ("5m", 1), ("15m", 1)}
    assert all(one.high == 130.0 for one in corrected.values())
    minutes = [row for row in rows if row.timeframe == "1m"]
    assert [row.open_ms for row in minutes] == list(range(missed_ms, START_MS + (MINUTES - 2) * MINUTE_MS, MINUTE_MS))
    assert [row.revision for row in minutes] == [1] + [0] * (len(minutes) - 1)
    assert minutes[0].high == 130.0
    assert {row.timeframe for row in rows} == {"1m", "5m", "15m"}
    first = {
        (row.timeframe, row.open_ms): row
        for value in stages.sent[FEATURES][: -len(rows)]
        if (row := msgspec.json.decode(value, type=Features))
    }
    assert all(row.values["ewma_vol_60"] != first["1m", row.open_ms].values["ewma_vol_60"] for row in minutes)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_candle_that_is_corrected_keeps_its_forecasts_and_gets_no_others(stages: Stages, is_restarted: bool) -> None:
    made = stages.history()
    if is_restarted:
        stages.restart_predictor()
    _, rows, forecasts = stages.trade(*MISSED)
    assert rows[0].revision == 1
    again = [one for one in forecasts if one.feature_open_ms == rows[0].open_ms]
    assert again == []
    if not is_restarted:
        assert forecasts == []
        keys = [(one.feature_open_ms, one.horizon_s) for one in made]
        assert len(keys) == len(set(keys))


def test_candle_and_its_correction_in_one_chunk_give_one_forecast(stages: Stages) -> None:
    stages.history()
    stages.trade(*MISSED)
    stages.restart_predictor()
    stages.sent[FORECASTS].clear()
    stages.predict(stages.sent[FEATURES])
    made = [msgspec.json.decode(value, type=Forecast) for value in stages.sent[FORECASTS]]
    assert len({(one.feature_open_ms, one.horizon_s) for one in made}) == len(made) > 2 * (MINUTES - 10)
    assert {one.revision for one in made} == {0}


def test_next_candle_is_forecast_from_the_corrected_features(stages: Stages) -> None:
    stages.history()
    stages.trade(*MISSED)
    _, rows, forecasts = stages.trade(MINUTES + 2, MINUTES * MINUTE_MS, 101.0)
    newest = next(row for row in rows if row.timeframe == "1m")
    assert [(one.feature_open_ms, one.horizon_s) for one in forecasts] == [(newest.open_ms, 60), (newest.open_ms, 300)]
    expected = BaselineModel(Origin(60)).quantiles(newest)
    assert expected is not None
    assert forecasts[0].q95 == expected.q95


def an_error(made: Forecast, *, below: bool = False, **changes: Any) -> ForecastError:
    error = ForecastError(
        pair=made.pair,
        horizon_s=made.horizon_s,
        feature_open_ms=made.feature_open_ms,
        target_ms=made.target_ms,
        model=made.model,
        model_version=made.model_version,
        trusted=made.trusted,
        source=made.source,
        base_price=made.base_price,
        outcome_price=made.base_price,
        outcome_revision=0,
        synthetic=False,
        return_bps=0.0,
        error_bps=0.0,
        pinball_bps=1.0,
        baseline_pinball_bps=1.0,
        below=(below, below, below, below, below),
        scored_at_ms=1,
    )
    return msgspec.structs.replace(error, **changes)


def learned(stages: Stages, errors: Sequence[ForecastError]) -> bytes:
    values = [encode(one) for one in errors]
    asyncio.run(stages.predictor.handle_errors(stages._chunk(FORECAST_ERRORS, values)))
    return stages.rolling[PAIR.encode()]


def test_scored_forecasts_move_the_intervals_of_their_horizon_and_restarts_keep_them(stages: Stages) -> None:
    made = stages.history()
    learned(stages, [an_error(one, below=True) for one in made if one.horizon_s == 60])
    stages.restart_predictor()
    stages.sent[FORECASTS].clear()
    _, rows, (short, long) = stages.trade(MINUTES + 2, MINUTES * MINUTE_MS, 101.0)
    plain = BaselineModel(Origin(60)).quantiles(next(row for row in rows if row.timeframe == "1m"))
    assert plain is not None
    assert short.q05 < plain.q05
    assert short.q95 < plain.q95
    assert short.q50 == plain.q50
    unmoved = BaselineModel(Origin(300)).quantiles(next(row for row in rows if row.timeframe == "1m"))
    assert unmoved is not None
    assert long.q05 == unmoved.q05


def test_errors_that_come_again_or_are_corrected_or_synthetic_teach_nothing(stages: Stages) -> None:
    errors = [an_error(one) for one in stages.history()]
    row = learned(stages, errors[:-2])
    assert learned(stages, errors[:-2]) == row
    assert learned(stages, [msgspec.structs.replace(errors[-3], outcome_revision=1, below=(True,) * 5)]) == row
    assert learned(stages, [msgspec.structs.replace(errors[-1], synthetic=True)]) == row
    assert learned(stages, errors) != row


def test_new_version_of_the_champion_starts_without_offsets(stages: Stages) -> None:
    made = stages.history()
    learned(stages, [an_error(one, below=True) for one in made])
    stages.predictor._watch.models = {60: BaselineModel(Origin(60, version="2"))}
    _, rows, (one,) = stages.trade(MINUTES + 2, MINUTES * MINUTE_MS, 101.0)
    newest = next(row for row in rows if row.timeframe == "1m")
    plain = BaselineModel(Origin(60)).quantiles(newest)
    assert plain is not None
    assert one.q05 == plain.q05
    learned(stages, [an_error(one, below=True)])
    corrections = stages.predictor._corrections[0][PAIR].of(BaselineModel(Origin(60, version="2")))
    assert corrections is not None
    assert corrections.scored == 1


def test_forecasts_of_a_model_with_an_alarm_go_on_untrusted_until_it_is_over(stages: Stages) -> None:
    made = stages.history()
    learned(stages, [an_error(made[0], drifting=True)])
    stages.restart_predictor()
    _, _, forecasts = stages.trade(MINUTES + 2, MINUTES * MINUTE_MS, 101.0)
    assert {one.horizon_s: "drift" in one.reasons for one in forecasts} == {60: True, 300: False}
    assert not any(one.trusted for one in forecasts)
    learned(stages, [an_error(made[2])])
    _, _, forecasts = stages.trade(MINUTES + 3, (MINUTES + 1) * MINUTE_MS, 101.0)
    assert {one.horizon_s: "drift" in one.reasons for one in forecasts} == {60: False, 300: False}
