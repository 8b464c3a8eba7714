"""Records of the right shape, each a little different; any field may be changed."""

from __future__ import annotations

from typing import Any

import msgspec

from tables.features import FEATURE_NAMES, FEATURE_SET
from tables.records import (
    TIMEFRAME_MS,
    Candle,
    DeadLetter,
    Features,
    Forecast,
    ForecastError,
    Hole,
    HoleState,
    LateTrade,
    ModelInService,
    Trade,
)

__all__ = [
    "START_MS",
    "candle",
    "dead_letter",
    "features",
    "forecast",
    "forecast_error",
    "hole",
    "in_service",
    "late_trade",
]

START_MS = 1_526_169_600_000
"""2018-05-13T00:00:00Z."""


def candle(index: int = 0, pair: str = "BTC/USD", timeframe: str = "1m", **changes: Any) -> Candle:
    """Make the candle of window `index`."""
    step_ms = {str(name): length_ms for name, length_ms in TIMEFRAME_MS.items()}[timeframe]
    made = Candle(
        pair=pair,
        timeframe=timeframe,
        open_ms=START_MS + index * step_ms,
        open=100.1 + index,
        high=100.3 + index,
        low=100.0 + index,
        close=100.2 + index,
        volume=1.1,
        quote_volume=110.33,
        buy_volume=0.4,
        trades=3,
        vwap=100.3,
        first_trade_id=index * 3 + 1,
        last_trade_id=index * 3 + 3,
        closed=True,
        revision=0,
        synthetic=False,
        closed_by="watermark",
        source="sim",
    )
    return msgspec.structs.replace(made, **changes)


def features(index: int = 0, value: float | None = 0.1, **changes: Any) -> Features:
    """Make the features of 1m window `index`, every indicator at `value`."""
    made = Features(
        pair="BTC/USD",
        timeframe="1m",
        open_ms=START_MS + index * 60_000,
        open=1.0,
        high=2.0,
        low=0.5,
        close=1.5 + index,
        volume=3.0,
        quote_volume=4.0,
        buy_volume=1.0,
        trades=5,
        vwap=1.2,
        revision=0,
        synthetic=False,
        source="sim",
        feature_set=FEATURE_SET,
        bars=index + 1,
        values=dict.fromkeys(FEATURE_NAMES, value),
    )
    return msgspec.structs.replace(made, **changes)


def forecast(index: int = 0, pair: str = "BTC/USD", horizon_s: int = 60, **changes: Any) -> Forecast:
    """Make the forecast of 1m window `index`."""
    open_ms = START_MS + index * 60_000
    made = Forecast(
        pair=pair,
        horizon_s=horizon_s,
        made_at_ms=open_ms + 60_123,
        feature_open_ms=open_ms,
        target_ms=open_ms + 60_000 + horizon_s * 1_000,
        base_price=100.0,
        q05=99.0,
        q25=99.5,
        q50=100.1,
        q75=100.4,
        q95=101.0,
        p_up=0.52,
        sigma_bps=12.5,
        model="ewma",
        model_version="1",
        model_alias="champion",
        feature_set=FEATURE_SET,
        trusted=True,
        reasons=[],
        expires_at_ms=open_ms + 120_000,
        revision=0,
        source="sim",
    )
    return msgspec.structs.replace(made, **changes)


def forecast_error(index: int = 0, pair: str = "BTC/USD", horizon_s: int = 60, **changes: Any) -> ForecastError:
    """Make what became of the forecast of 1m window `index`."""
    open_ms = START_MS + index * 60_000
    made = ForecastError(
        pair=pair,
        horizon_s=horizon_s,
        feature_open_ms=open_ms,
        target_ms=open_ms + 60_000 + horizon_s * 1_000,
        model="ewma",
        model_version="1",
        trusted=True,
        source="sim",
        base_price=100.0,
        outcome_price=100.2,
        outcome_revision=0,
        synthetic=False,
        return_bps=19.98,
        error_bps=9.99,
        pinball_bps=4.5,
        baseline_pinball_bps=4.6,
        below=(False, False, False, True, True),
        scored_at_ms=open_ms + 120_000 + horizon_s * 1_000,
    )
    return msgspec.structs.replace(made, **changes)


def hole(first_id: int = 100, state: HoleState = "open", **changes: Any) -> Hole:
    """Make a hole of ten ids, found at `START_MS`."""
    made = Hole(
        pair="BTC/USD",
        first_id=first_id,
        last_id=first_id + 9,
        after_ns=START_MS * 1_000_000,
        state=state,
        tries=1,
        found_at_ms=START_MS,
        at_ms=START_MS,
        source="sim",
    )
    return msgspec.structs.replace(made, **changes)


def late_trade(trade_id: int = 7, **changes: Any) -> LateTrade:
    """Make a trade executed at `START_MS` that no candle could take; `changes` are of the trade."""
    trade = Trade("BTC/USD", trade_id, START_MS * 1_000_000 + 123, 100.5, 0.25, "sell", "limit", "sim")
    made = msgspec.structs.replace(trade, **changes)
    return LateTrade(made, reason="window-left-state", watermark_ms=START_MS + 3_600_000)


def in_service(version: str = "3", **changes: Any) -> ModelInService:
    """Make a model that went into service at `START_MS`."""
    made = ModelInService(
        horizon_s=60,
        model="catboost",
        model_version=version,
        model_alias="champion",
        feature_set="0123456789ab",
        source="sim",
        data_to_ms=START_MS - 60_000,
        expires_at_ms=START_MS + 604_800_000,
        worker="host:1",
        at_ms=START_MS,
    )
    return msgspec.structs.replace(made, **changes)


def dead_letter(**changes: Any) -> DeadLetter:
    """Make a dead letter whose payload is hostile to SQL."""
    made = DeadLetter(
        stage="candles",
        reason="price-not-positive",
        detail="price is -1",
        payload='{"price":-1,"note":"file(\'/etc/hostname\') INTO OUTFILE"}',
        topic="trades",
        partition=2,
        offset=77,
        pair="BTC/USD",
        at_ms=START_MS,
    )
    return msgspec.structs.replace(made, **changes)
