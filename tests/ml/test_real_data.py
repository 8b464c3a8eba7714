"""On recorded minutes: the figures are printed (`pytest -rP`), the asserts hold what must never break."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import dataset
from ml.baseline import BaselineModel
from ml.catboost_model import DEFAULTS, fit_model
from ml.model import Origin
from ml.training import judge
from tests.support.feature_columns import binance_candles, feature_columns

SHARED = Path(os.environ.get("TICKCAST_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))
FILE = SHARED / "candles" / "binance_btcusdt_1m_2023-12_2024-11.parquet"


@pytest.mark.skipif(not FILE.exists(), reason=f"recorded candles are not there: {FILE}")
def test_intervals_hold_on_recorded_minutes_at_five_minutes() -> None:
    candles: dict[str, Any] = binance_candles(FILE, 60_000, skip=200_000)
    table = dataset.prepare(feature_columns("BTC/USDT", candles))
    assert (table.quality.gaps, table.quality.duplicates, table.quality.bad_prices) == (0, 0, 0)
    blocks = dataset.split(dataset.samples(table, 300), 300)
    origin, train = Origin(300), dataset.every_hth(blocks.train, 300)
    model, _ = fit_model(train, blocks.calibration, DEFAULTS, origin, threads=2, seed=1)
    baseline = BaselineModel.fit(origin, np.concatenate([train.y, blocks.calibration.y]))
    models = {"challenger": model, "baseline": baseline, "champion": BaselineModel(origin)}
    report = judge(models, blocks.test, table.quality)
    for name, got in report.metrics.items():
        print(  # the figures are the point
            f"{name}: pinball {got.pinball_bps:.4f} bps, coverage {got.coverage50:.3f}/{got.coverage90:.3f}, "
            f"width90 {got.width90_bps:.1f} bps, MAE {got.mae_bps:.2f} bps, direction {got.direction:.3f}"
        )
    print(
        f"5 min, {report.metrics['challenger'].rows} rows: pinball skill {report.skill:+.4f} "
        f"(DM {report.dm_baseline:+.2f}), MAE skill {report.mae_skill:+.4f}, "
        f"promoted {report.promoted}, refused for {report.reasons}"
    )
    assert 0.87 <= report.metrics["challenger"].coverage90 <= 0.93
    assert 0.46 <= report.metrics["challenger"].coverage50 <= 0.54
    assert report.skill is not None
    assert report.skill > -0.01, "whatever the market did, it must not be much worse than the baseline"
