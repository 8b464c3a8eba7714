"""The artefact of a model version: a folder with `forecaster.json` and, for trees, `trees.npz`.

Reading it needs numpy and msgspec only, so that the predictor holds neither CatBoost nor pandas.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ml.baseline import BaselineModel
from ml.errors import ModelRefusedError
from ml.input_drift import Reference
from ml.inputs import INPUT_NAMES, INPUT_SET
from ml.model import LEVELS, ForecastModel, Origin
from ml.trees import Trees, TreesModel
from redpanda.errors import BadInputError
from tables.features.catalog import FEATURE_SET

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORECASTER", "TREES", "load", "save"]

FORECASTER: Final = "forecaster.json"
TREES: Final = "trees.npz"
_FORMAT: Final = 1
_TOLERANCE: Final = 1e-9  # scaled units; another processor may sum in another order
_SMOKE_ROWS: Final = 3


class Forecaster(msgspec.Struct, frozen=True):
    """`forecaster.json`."""

    format: int
    kind: str
    horizon_s: int
    feature_set: str
    input_set: str
    levels: list[float]
    source: str
    constant: list[float]
    """Scaled quantiles of a baseline; empty for trees."""
    offsets: list[float]
    """Conformal offsets of trees; empty for a baseline."""
    median_weight: float
    """Share of the trees' median that is believed; 1 for a baseline."""
    trees_sha256: str
    smoke: list[list[float]]
    """What the model must answer to `_smoke_inputs`."""
    data_to_ms: int = 0
    """open_ms of the newest candle behind trees; an artefact of before this field has long expired."""
    references: dict[str, Reference] = {}
    """Training inputs by pair; an artefact of before this field has none, and its inputs are not watched."""


def _smoke_inputs() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    x = np.linspace(-3.0, 3.0, _SMOKE_ROWS * len(INPUT_NAMES), dtype=np.float32).reshape(_SMOKE_ROWS, -1)
    x[0, ::2] = np.nan  # NaN goes its own way through the trees
    return x


def save(model: ForecastModel, folder: Path) -> None:
    """Write the artefact of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    trees = model.trees.to_npz() if isinstance(model, TreesModel) else b""
    if trees:
        (folder / TREES).write_bytes(trees)
    content = Forecaster(
        format=_FORMAT,
        kind=model.name,
        horizon_s=model.horizon_s,
        feature_set=model.feature_set,
        input_set=INPUT_SET,
        levels=list(LEVELS),
        source=model.origin.source,
        constant=model.constant.tolist() if isinstance(model, BaselineModel) else [],
        offsets=model.offsets.tolist() if isinstance(model, TreesModel) else [],
        median_weight=model.median_weight if isinstance(model, TreesModel) else 1.0,
        trees_sha256=hashlib.sha256(trees).hexdigest() if trees else "",
        smoke=model.scaled(_smoke_inputs()).tolist(),
        data_to_ms=model.origin.data_to_ms or 0,
        references=dict(model.origin.references),
    )
    (folder / FORECASTER).write_bytes(msgspec.json.format(msgspec.json.encode(content)))


def load(folder: Path, horizon_s: int, version: str, alias: str) -> ForecastModel:
    """Read a model and prove that it answers as it did when it was registered.

    Raises
    ------
    ModelRefusedError
        Missing or corrupt files, another horizon, features or inputs than this program's, other answers.
    """
    label = f"model tickcast-{horizon_s}s version {version}"
    try:
        content = msgspec.json.decode((folder / FORECASTER).read_bytes(), type=Forecaster)
        _check(content, horizon_s)
        data_to_ms = content.data_to_ms if content.kind == TreesModel.name else None
        origin = Origin(horizon_s, version, alias, content.feature_set, content.source, data_to_ms, content.references)
        model = _build(content, origin, folder)
        drift = float(np.abs(model.scaled(_smoke_inputs()) - np.array(content.smoke)).max())
    except (OSError, msgspec.DecodeError, BadInputError, ValueError) as error:
        raise ModelRefusedError(
            f"{label} is refused: {error} (in {folder}); the last good model stays; run `tickcast train` for a new one"
        ) from error
    if not drift <= _TOLERANCE:
        raise ModelRefusedError(
            f"{label} is refused: it answers otherwise than when it was registered (by {drift:.2g}, in "
            f"{folder}); run `tickcast train` for a new one"
        )
    return model


def _check(content: Forecaster, horizon_s: int) -> None:
    for what, found, wanted in (
        ("artefact format", content.format, _FORMAT),
        ("horizon_s", content.horizon_s, horizon_s),
        ("feature set", content.feature_set, FEATURE_SET),
        ("input set", content.input_set, INPUT_SET),
        ("quantile levels", content.levels, list(LEVELS)),
    ):
        if found != wanted:
            raise BadInputError(f"{what} is {found}, this program has {wanted}")


def _build(content: Forecaster, origin: Origin, folder: Path) -> ForecastModel:
    if content.kind == BaselineModel.name and len(content.constant) == len(LEVELS):
        return BaselineModel(origin, tuple(content.constant))
    if content.kind == TreesModel.name and len(content.offsets) == len(LEVELS):
        data = (folder / TREES).read_bytes()
        if hashlib.sha256(data).hexdigest() != content.trees_sha256:
            raise BadInputError(f"{TREES} is corrupt (its checksum differs)")
        return TreesModel(origin, Trees.from_npz(data), np.array(content.offsets), content.median_weight)
    raise BadInputError(f"unknown or incomplete model kind {content.kind!r}")
