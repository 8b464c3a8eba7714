"""Training: CatBoost MultiQuantile on scaled returns, handed over as numpy trees with conformal offsets."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ml.conformal import conformal_offsets, median_weight
from ml.inputs import INPUT_NAMES
from ml.model import LEVELS, Origin
from ml.trees import Trees, TreesModel
from redpanda.errors import MissingToolError, TickcastError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml.dataset import Samples

__all__ = ["DEFAULTS", "Fit", "Params", "fit", "fit_model", "importance"]

LOSS: Final = "MultiQuantile:alpha=" + ",".join(map(str, LEVELS))
_TOLERANCE: Final = 1e-12
_BORDERS: Final = 64  # of 254: a quarter of the memory and of the time; noisy inputs need no finer


class Params(msgspec.Struct, frozen=True):
    """What tuning may change."""

    iterations: int = 250
    learning_rate: float = 0.05
    depth: int = 5
    l2_leaf_reg: float = 10.0
    random_strength: float = 1.0
    rsm: float = 0.7
    """Share of the inputs that each split looks at."""


DEFAULTS: Final = Params()


@dataclass(frozen=True, slots=True)
class Fit:
    """A trained CatBoost."""

    model: Any
    valid_loss: float | None
    """Best loss on the validation rows, if there were any."""
    trees: int


class _Callback:
    def __init__(self, step: Callable[[int, float | None], bool]) -> None:
        self._step = step

    def after_iteration(self, info: Any) -> bool:
        history = (info.metrics or {}).get("validation", {}).get(LOSS)
        return self._step(int(info.iteration), float(history[-1]) if history else None)


def fit(
    train: Samples,
    params: Params,
    *,
    threads: int,
    seed: int,
    valid: Samples | None = None,
    step: Callable[[int, float | None], bool] | None = None,
) -> Fit:
    """Train on one block; with a validation block it stops early and keeps the best number of trees.

    Parameters
    ----------
    step
        Called after each tree with its number from 1 and the validation loss; False stops the training.
    """
    try:
        from catboost import (  # noqa: PLC0415  # 1 s of imports
            CatBoostRegressor,
            Pool,
        )
    except ImportError as error:
        raise MissingToolError(f"training needs CatBoost ({error}): run `uv sync --extra ml`") from error
    model = CatBoostRegressor(
        loss_function=LOSS,
        **msgspec.to_builtins(params),
        nan_mode="Min",
        bootstrap_type="MVS",
        border_count=_BORDERS,
        random_seed=seed,
        thread_count=threads,
        allow_writing_files=False,
        verbose=False,
    )
    names = list(INPUT_NAMES)
    model.fit(
        Pool(train.x, train.y, feature_names=names),
        eval_set=Pool(valid.x, valid.y, feature_names=names) if valid is not None else None,
        early_stopping_rounds=30 if valid is not None else None,
        callbacks=[_Callback(step)] if step is not None else None,
    )
    best = model.get_best_score().get("validation", {}).get(LOSS) if valid is not None else None
    return Fit(model, best, int(model.tree_count_))


def fit_model(
    train: Samples,
    calibration: Samples,
    params: Params,
    origin: Origin,
    *,
    threads: int,
    seed: int,
    step: Callable[[int, float | None], bool] | None = None,
) -> tuple[TreesModel, Any]:
    """Train, carry over to numpy, prove both equal, calibrate.

    Returns
    -------
    The model to serve and the CatBoost object it came from.

    Raises
    ------
    TickcastError
        The numpy trees answer otherwise than CatBoost: a fault of this program.
    """
    trained = fit(train, params, threads=threads, seed=seed, step=step).model
    raw = TreesModel(origin, to_trees(trained))
    rows = calibration.x[:: max(1, len(calibration) // 500)]
    difference = float(np.abs(np.sort(trained.predict(rows), axis=1) - raw.scaled(rows)).max())
    if not difference <= _TOLERANCE:
        raise TickcastError(
            f"numpy trees differ from CatBoost by {difference:.2g}: the installed catboost writes another "
            "format; install the version that uv.lock names"
        )
    weight = median_weight(raw.scaled(calibration.x)[:, LEVELS.index(0.5)], calibration.y)
    shrunk = TreesModel(origin, raw.trees, median_weight=weight)
    offsets = conformal_offsets(shrunk.scaled(calibration.x), calibration.y)
    return TreesModel(origin, raw.trees, offsets, weight), trained


def importance(model: Any) -> dict[str, float]:
    """Give each input's share of the changes of the prediction (per cent), as CatBoost counts it."""
    return dict(zip(INPUT_NAMES, map(float, model.get_feature_importance()), strict=True))


def to_trees(model: Any) -> Trees:
    """Export a CatBoost object to numpy trees."""
    with tempfile.TemporaryDirectory(prefix="tickcast-trees-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        return Trees.from_catboost_json(path.read_text())
