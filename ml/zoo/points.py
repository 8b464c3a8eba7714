"""Point forecasts of scikit-learn and LightGBM, with the spread of their own errors around them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ml.conformal import median_weight
from ml.dataset import Samples
from ml.model import LEVELS
from ml.zoo.candidate import MEDIAN, Blocks, Candidate, Predict, Quantiles, scale
from redpanda.errors import MissingToolError

__all__ = ["CANDIDATES"]

_LEAVES = 15
_ROUNDS = 200


def _linear(name: str, **options: Any) -> Callable[[Blocks], Any]:
    def make(_: Blocks) -> Any:
        from sklearn import linear_model  # noqa: PLC0415  # an optional package, 1 s of imports
        from sklearn.impute import SimpleImputer  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

        return make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), getattr(linear_model, name)(**options)
        )

    return make


def _hist_gradient_boosting(blocks: Blocks) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415  # an optional package

    return HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=_ROUNDS,
        max_leaf_nodes=_LEAVES,
        l2_regularization=10.0,
        early_stopping=False,
        random_state=blocks.seed,
    )


def _lightgbm(blocks: Blocks) -> Any:
    from lightgbm import LGBMRegressor  # noqa: PLC0415  # an optional package

    return LGBMRegressor(
        learning_rate=0.05,
        n_estimators=_ROUNDS,
        num_leaves=_LEAVES,
        reg_lambda=10.0,
        n_jobs=blocks.threads,
        random_state=blocks.seed,
        verbose=-1,
    )


def _around(make: Callable[[Blocks], Any], package: str) -> Callable[[Blocks], Predict]:
    """Fit a regressor of the scaled return; the calibration block says how far to believe it, and its spread."""

    def fit(blocks: Blocks) -> Predict:
        try:
            regressor = make(blocks)
        except (ImportError, OSError) as error:  # OSError: LightGBM's library needs libgomp
            raise MissingToolError(f"{package} is not installed ({error}): run `uv sync --extra zoo`") from error
        with warnings.catch_warnings():
            # Huber's solver stops at its limit of steps: what is left to gain is far below the noise.
            warnings.filterwarnings("ignore", message="lbfgs failed to converge")
            regressor.fit(blocks.train.x, blocks.train.y)
        point = np.asarray(regressor.predict(blocks.calibration.x), dtype=np.float64)
        weight = median_weight(point, blocks.calibration.y)
        spread = np.quantile(blocks.calibration.y - weight * point, LEVELS)
        spread[MEDIAN] = 0.0

        def predict(rows: Samples) -> Quantiles:
            median = weight * np.asarray(regressor.predict(rows.x), dtype=np.float64)
            return (median[:, None] + np.sort(spread)) * scale(rows, blocks.horizon_s)

        return predict

    return fit


CANDIDATES = (
    Candidate("ridge", "linear, squared weights", _around(_linear("Ridge", alpha=1_000.0), "scikit-learn")),
    Candidate(
        "elastic-net",
        "linear, few weights",
        _around(_linear("ElasticNet", alpha=0.01, l1_ratio=0.5), "scikit-learn"),
    ),
    Candidate(
        "huber", "linear, robust to jumps", _around(_linear("HuberRegressor", alpha=1.0, max_iter=300), "scikit-learn")
    ),
    Candidate("hist-gb", "gradient boosting of scikit-learn", _around(_hist_gradient_boosting, "scikit-learn")),
    Candidate("lightgbm", "gradient boosting of LightGBM", _around(_lightgbm, "lightgbm")),
)
