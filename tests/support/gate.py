"""What the gate says of one series, trained as the trainer does."""

from __future__ import annotations

from typing import Any

import numpy as np

from ml import dataset
from ml.baseline import BaselineModel
from ml.catboost_model import Params, fit_model
from ml.model import Origin
from ml.training import judge
from tests.support.feature_columns import feature_columns

__all__ = ["trained_verdict"]


def trained_verdict(candles: dict[str, Any], horizon_s: int, seed: int) -> bool:
    """Train on one series as the trainer does, without tuning, against both baselines."""
    table = dataset.prepare(feature_columns("X/USD", candles))
    blocks = dataset.split(dataset.samples(table, horizon_s), horizon_s)
    train, origin = dataset.every_hth(blocks.train, horizon_s), Origin(horizon_s)
    model, _ = fit_model(train, blocks.calibration, Params(iterations=50, depth=4), origin, threads=1, seed=seed)
    baseline = BaselineModel.fit(origin, np.concatenate([train.y, blocks.calibration.y]))
    models = {"challenger": model, "baseline": baseline, "champion": BaselineModel(origin)}
    return judge(models, blocks.test, table.quality).promoted
