"""A store and a registry that have something of everything."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ml.baseline import BaselineModel
from ml.model import Origin
from ml.registry import REPORT, Record, Registry
from ml.settings import MlSettings
from tables.clickhouse import rows
from tables.clickhouse.client import connect
from tables.clickhouse.settings import StoreSettings
from tables.records import ForecastError
from tests.support.samples import START_MS, candle, features, forecast, hole, late_trade

__all__ = ["PAIR", "error", "seed"]

PAIR = "SEED/USD"


def error(index: int = 0, pair: str = PAIR, horizon_s: int = 60, **changes: object) -> ForecastError:
    """Make the outcome of `forecast(index, pair, horizon_s)`."""
    of = forecast(index, pair, horizon_s)
    made = ForecastError(
        pair=pair,
        horizon_s=horizon_s,
        feature_open_ms=of.feature_open_ms,
        target_ms=of.target_ms,
        model=of.model,
        model_version=of.model_version,
        trusted=True,
        source="sim",
        base_price=of.base_price,
        outcome_price=100.2,
        outcome_revision=0,
        synthetic=False,
        return_bps=20.0,
        error_bps=10.0,
        pinball_bps=2.0,
        baseline_pinball_bps=4.0,
        below=(False, False, False, True, True),
        scored_at_ms=of.target_ms + 2_000,
    )
    return msgspec.structs.replace(made, **changes)


def seed(store: StoreSettings, home: Path) -> None:
    """Fill the store with 30 minutes of one pair, and the registry with two versions and a report."""
    client = connect(store)
    try:
        rows.insert_candles(client, [candle(index, PAIR) for index in range(30)], "seed-candles")
        rows.insert_features(client, [features(index, pair=PAIR) for index in range(30)], "seed-features")
        made = [forecast(index, PAIR, horizon_s) for index in range(30) for horizon_s in (60, 300)]
        rows.insert_forecasts(client, made, "seed-forecasts")
        rows.insert_errors(
            client, [error(index, PAIR, horizon_s) for index in range(25) for horizon_s in (60, 300)], "s"
        )
        rows.insert_late_trades(client, [late_trade(pair=PAIR)], "s")
        rows.insert_holes(client, [hole(100, pair=PAIR), hole(200, "repaired", pair=PAIR, found_at_ms=START_MS)], "s")
    finally:
        client.close()
    registry = Registry(MlSettings(home=home))
    registry.ensure_baseline((300,))
    version = registry.register(BaselineModel(Origin(300)), Record())
    registry.attach(300, version, REPORT, "<!DOCTYPE html><title>tickcast-300s</title>")
