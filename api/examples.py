"""Example bodies of the OpenAPI document, made of the records themselves so that they cannot drift."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api.rows import error_row, forecast_row
from api.schemas import (
    Accuracies,
    Candles,
    ErrorRow,
    Errors,
    FeatureRows,
    Forecasts,
    LatestForecasts,
    ModelRow,
    Models,
    OneForecast,
    Pair,
    Pairs,
    Qualities,
)
from api.times import rfc3339
from api.tokens import cursor
from tables.clickhouse.figures import Accuracy, PairQuality
from tables.features import FEATURE_NAMES, FEATURE_SET
from tables.records import Candle, Features, Forecast, Scored

__all__ = ["BODIES", "CSV_BODIES", "PROBLEM"]

OPEN_MS: Final = 1_795_608_000_000
AT_MS: Final = OPEN_MS + 61_250
_HEAD: Final = ("kraken", False, AT_MS, rfc3339(AT_MS))
_NEXT: Final = cursor(("candles", "BTC/USD"), (OPEN_MS,))
_SUMS: Final[dict[str, Any]] = {
    "volume": 1.25,
    "quote_volume": 109_512.5,
    "buy_volume": 0.75,
    "trades": 42,
    "vwap": 87_610.0,
}
_CANDLE: Final = Candle(
    pair="BTC/USD",
    timeframe="1m",
    open_ms=OPEN_MS,
    open=87_600.1,
    high=87_650.0,
    low=87_580.0,
    close=87_612.3,
    first_trade_id=90_000_001,
    last_trade_id=90_000_042,
    closed=True,
    revision=0,
    synthetic=False,
    closed_by="watermark",
    source="kraken",
    as_of_ms=AT_MS,
    **_SUMS,
)
_FEATURES: Final = Features(
    pair="BTC/USD",
    timeframe="1m",
    open_ms=OPEN_MS,
    open=87_600.1,
    high=87_650.0,
    low=87_580.0,
    close=87_612.3,
    revision=0,
    synthetic=False,
    source="kraken",
    feature_set=FEATURE_SET,
    bars=5_000,
    values={FEATURE_NAMES[0]: 87_601.2, FEATURE_NAMES[1]: None},
    as_of_ms=AT_MS,
    **_SUMS,
)
_FORECAST: Final = Forecast(
    pair="BTC/USD",
    horizon_s=300,
    made_at_ms=OPEN_MS + 60_045,
    feature_open_ms=OPEN_MS,
    target_ms=OPEN_MS + 360_000,
    base_price=87_612.3,
    q05=87_420.0,
    q25=87_545.5,
    q50=87_613.0,
    q75=87_680.2,
    q95=87_806.9,
    p_up=0.503,
    sigma_bps=13.4,
    model="catboost",
    model_version="7",
    model_alias="champion",
    feature_set=FEATURE_SET,
    trusted=True,
    reasons=[],
    expires_at_ms=OPEN_MS + 360_000,
    revision=0,
    source="kraken",
)
_SCORED: Final = Scored(
    pair="BTC/USD",
    horizon_s=300,
    feature_open_ms=OPEN_MS,
    target_ms=OPEN_MS + 360_000,
    model="catboost",
    model_version="7",
    trusted=True,
    source="kraken",
    base_price=87_612.3,
    outcome_price=87_640.0,
    outcome_revision=0,
    synthetic=False,
    return_bps=3.161,
    error_bps=3.081,
    pinball_bps=2.61,
    baseline_pinball_bps=2.72,
    below=(False, False, False, True, True),
    scored_at_ms=OPEN_MS + 362_000,
)
_ERROR: Final[ErrorRow] = error_row(_SCORED)
_ROW: Final = forecast_row(_FORECAST)
_ACCURACY: Final = Accuracy(
    pair="BTC/USD",
    horizon_s=300,
    model="catboost",
    model_version="7",
    scored=1_431,
    pinball_bps=2.58,
    baseline_pinball_bps=2.64,
    skill=0.0227,
    coverage50=0.507,
    coverage90=0.902,
    mae_bps=7.9,
    direction=0.511,
    first_target_ms=OPEN_MS - 86_400_000,
    last_target_ms=OPEN_MS,
)
_QUALITY: Final = PairQuality(
    pair="BTC/USD",
    last_candle_open_ms=OPEN_MS,
    candle_lag_ms=1_250,
    candles=1_440,
    synthetic=3,
    revised=1,
    late_trades=1,
    holes_open=0,
    holes_repaired=2,
    holes_unrepairable=0,
    ids_missing=0,
)
_MODEL: Final = ModelRow(
    horizon_s=300,
    model="catboost",
    alias="champion",
    version="7",
    created_ms=OPEN_MS - 7_200_000,
    trained_from_ms=OPEN_MS - 2_592_000_000,
    trained_to_ms=OPEN_MS - 7_260_000,
    feature_set=FEATURE_SET,
    verdict="promote",
    report="/v1/models/300/report?alias=champion",
)
_STRUCTS: Final[dict[str, msgspec.Struct]] = {
    "/v1/pairs": Pairs(*_HEAD, [Pair("BTC/USD", "kraken", False, 43_200, OPEN_MS - 2_592_000_000, OPEN_MS)]),
    "/v1/candles": Candles(*_HEAD, [_CANDLE], _NEXT),
    "/v1/features": FeatureRows(*_HEAD, [_FEATURES], None),
    "/v1/forecasts/latest": LatestForecasts(_HEAD[0], False, False, AT_MS, _HEAD[3], [_ROW]),
    "/v1/forecasts": Forecasts(*_HEAD, [_ROW], None),
    "/v1/forecasts/{id}": OneForecast(*_HEAD, _ROW.id, _ROW, _ERROR),
    "/v1/errors": Errors(*_HEAD, [_ERROR], None),
    "/v1/accuracy": Accuracies(*_HEAD, 86_400, [_ACCURACY]),
    "/v1/models": Models(*_HEAD, [_MODEL]),
    "/v1/quality": Qualities(*_HEAD, 86_400, [_QUALITY]),
}
BODIES: Final = {path: msgspec.Raw(msgspec.json.encode(body)) for path, body in _STRUCTS.items()}
"""JSON answer by path, encoded: Litestar would drop the nulls of a dictionary."""
CSV_BODIES: Final[dict[str, list[Any]]] = {
    "/v1/candles": [_CANDLE],
    "/v1/features": [_FEATURES],
    "/v1/forecasts": [_ROW],
    "/v1/errors": [_ERROR],
}
"""Rows by path of those that are also given as CSV and Arrow."""
PROBLEM: Final = {
    "type": "urn:tickcast:problem:bad-parameter",
    "title": "Bad parameter",
    "status": 400,
    "detail": "limit: at most 1000",
    "errors": [{"field": "limit", "message": "at most 1000"}],
}
