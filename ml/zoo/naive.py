"""Forecasts that learn nothing but a spread: what every other model has to beat."""

from __future__ import annotations

import numpy as np

from ml.baseline import BaselineModel
from ml.dataset import Samples
from ml.inputs import INPUT_NAMES
from ml.model import LEVELS, Origin
from ml.zoo.candidate import MEDIAN, Blocks, Candidate, Predict, Quantiles, scale

__all__ = ["BASELINE", "CANDIDATES"]

_MOMENTUM: int = INPUT_NAMES.index("log_return_60_scaled")


def _both(blocks: Blocks) -> tuple[Samples, Samples]:
    return blocks.train, blocks.calibration


def _ewma_volatility(blocks: Blocks) -> Predict:
    y = np.concatenate([rows.y for rows in _both(blocks)])
    model = BaselineModel.fit(Origin(blocks.horizon_s), y)
    return lambda rows: model.returns(rows.x, rows.sigma)


def _last_price(blocks: Blocks) -> Predict:
    constant = np.quantile(np.concatenate([rows.ret for rows in _both(blocks)]), LEVELS)
    constant[MEDIAN] = 0.0
    return lambda rows: np.repeat(np.sort(constant)[None, :], len(rows), axis=0)


def _drift(blocks: Blocks) -> Predict:
    """Take the mean return of the training block as the median, and the baseline's spread around it."""
    mean = float(blocks.train.ret.mean())
    spread = _ewma_volatility(blocks)
    return lambda rows: spread(rows) + mean


def _momentum(blocks: Blocks) -> Predict:
    """Let the last hour go on at its pace: the mistake that a chart invites to."""
    spread = _ewma_volatility(blocks)
    share = np.sqrt(blocks.horizon_s / 3_600)

    def predict(rows: Samples) -> Quantiles:
        pace = np.nan_to_num(rows.x[:, _MOMENTUM : _MOMENTUM + 1].astype(np.float64))
        return np.asarray(spread(rows) + pace * share * scale(rows, blocks.horizon_s))

    return predict


BASELINE = Candidate("ewma-vol", "last price, spread by the EWMA volatility", _ewma_volatility)
CANDIDATES = (
    BASELINE,
    Candidate("last-price", "last price, the same spread always", _last_price),
    Candidate("drift", "mean return of the training block", _drift),
    Candidate("momentum", "the last hour goes on", _momentum),
)
