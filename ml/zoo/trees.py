"""The model that is served: CatBoost MultiQuantile, evaluated by the predictor's own numpy trees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml.catboost_model import DEFAULTS, Params, fit_model
from ml.dataset import Samples
from ml.model import Origin
from ml.rolling import walk
from ml.trees import TreesModel
from ml.zoo.candidate import Blocks, Candidate, Predict, Quantiles, scale

__all__ = ["CANDIDATES", "SERVED", "served"]

SERVED = "catboost"


def _fit(params: Params) -> Callable[[Blocks], TreesModel]:
    def fit(blocks: Blocks) -> TreesModel:
        model, _ = fit_model(
            blocks.train,
            blocks.calibration,
            params,
            Origin(blocks.horizon_s),
            threads=blocks.threads,
            seed=blocks.seed,
        )
        return model

    return fit


def served(params: Params = DEFAULTS) -> Candidate:
    """Give the model as the predictor serves it: with the rolling correction from its own scored forecasts."""
    fit = _fit(params)

    def fit_rolling(blocks: Blocks) -> Predict:
        model = fit(blocks)

        def predict(rows: Samples) -> Quantiles:
            # What happened beyond the clip counts as beyond every quantile either way.
            spread = scale(rows, blocks.horizon_s)
            corrected = walk(model.scaled(rows.x), rows.ret / spread[:, 0], rows.pair, rows.open_ms, blocks.horizon_s)
            return np.asarray(corrected * spread)

        return predict

    return Candidate(SERVED, "CatBoost MultiQuantile on scaled returns, rolling correction", fit_rolling)


def _split(blocks: Blocks) -> Predict:
    model = _fit(DEFAULTS)(blocks)
    return lambda rows: model.returns(rows.x, rows.sigma)


CANDIDATES = (served(), Candidate("catboost-split", "the same without the rolling correction", _split))
