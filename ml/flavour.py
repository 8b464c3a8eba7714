"""The model as MLflow's own CatBoost flavour, for whoever opens it with MLflow."""

from __future__ import annotations

import warnings
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from ml.inputs import INPUT_NAMES
from ml.model import LEVELS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["save_flavour"]


def save_flavour(catboost_model: Any, folder: Path) -> None:
    """Write an MLmodel folder with signature and pinned requirements (inferring them takes 3 s)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's and CatBoost's own deprecations
        import mlflow.catboost  # noqa: PLC0415  # heavy
        from mlflow.models import ModelSignature  # noqa: PLC0415
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec  # noqa: PLC0415

        signature = ModelSignature(
            inputs=Schema([ColSpec(DataType.float, name) for name in INPUT_NAMES]),
            outputs=Schema([TensorSpec(np.dtype(np.float64), (-1, len(LEVELS)))]),
        )
        mlflow.catboost.save_model(
            catboost_model,
            str(folder),
            signature=signature,
            pip_requirements=[f"catboost=={metadata.version('catboost')}"],
        )
