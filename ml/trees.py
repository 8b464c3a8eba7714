"""CatBoost's symmetric trees in numpy: the same numbers without CatBoost in the process.

A tree of depth d asks d questions `x[feature] > border`; the answers are the bits of the leaf's index. A NaN
answers no, which is CatBoost's `nan_mode` Min (and what it does where training saw no NaN).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np

from ml.conformal import apply_offsets
from ml.inputs import INPUT_NAMES
from ml.model import LEVELS, ForecastModel, Origin, check_width
from redpanda.errors import BadInputError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Trees", "TreesModel"]

_CHUNK: Final = 256  # rows at once: the gathered inputs of a chunk stay in the cache
_MAX_DEPTH: Final = 16
_MEDIAN: Final = LEVELS.index(0.5)


@dataclass(frozen=True, slots=True)
class Trees:
    """A forest of T symmetric trees of depth up to D with K outputs."""

    feature: npt.NDArray[np.int32]
    """Input index of each question [D, T]."""
    border: npt.NDArray[np.float32]
    """Border of each question [D, T]; +inf where a tree is less deep: the answer is no."""
    leaf: npt.NDArray[np.float64]
    """Leaf values [T * 2**D, K]."""
    scale: float
    bias: npt.NDArray[np.float64]
    """[K]."""

    @classmethod
    def from_catboost_json(cls, text: str) -> Self:
        """Read `CatBoost.save_model(format="json")`.

        Raises
        ------
        BadInputError
            What this evaluator would get wrong: trees not symmetric, categorical features, NaN as largest.
        """
        model: dict[str, Any] = json.loads(text)
        info = model["features_info"]
        if "oblivious_trees" not in model or info.get("categorical_features") or info.get("ctrs"):
            raise BadInputError("only symmetric trees on float features can be served: keep grow_policy at its default")
        floats = info["float_features"]
        if any(feature.get("nan_value_treatment") == "AsTrue" for feature in floats):
            raise BadInputError("the model treats NaN as the largest value: train it with nan_mode=Min")
        index = [feature["flat_feature_index"] for feature in floats]
        scale, bias = model["scale_and_bias"]
        return cls._from_trees(model["oblivious_trees"], index, float(scale), np.atleast_1d(bias))

    @classmethod
    def _from_trees(
        cls, trees: list[dict[str, Any]], index: list[int], scale: float, bias: npt.NDArray[np.float64]
    ) -> Self:
        depth = max((len(tree["splits"] or ()) for tree in trees), default=0)
        feature = np.zeros((depth, len(trees)), np.int32)
        border = np.full((depth, len(trees)), np.inf, np.float32)
        leaf = np.zeros((len(trees), 1 << depth, len(bias)))
        for t, tree in enumerate(trees):
            for d, split in enumerate(tree["splits"] or ()):
                feature[d, t] = index[split["float_feature_index"]]
                border[d, t] = split["border"]
            values = np.array(tree["leaf_values"]).reshape(-1, len(bias))
            leaf[t, : len(values)] = values
        return cls(feature, border, leaf.reshape(-1, len(bias)), scale, np.array(bias, dtype=np.float64))

    def to_npz(self) -> bytes:
        """Give the artefact."""
        out = io.BytesIO()
        np.savez_compressed(
            out, feature=self.feature, border=self.border, leaf=self.leaf, scale=self.scale, bias=self.bias
        )
        return out.getvalue()

    @classmethod
    def from_npz(cls, data: bytes) -> Self:
        """Read the artefact and check that it is one.

        Raises
        ------
        BadInputError
            Not an archive, arrays missing or of shapes that do not fit, values that are not finite.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                trees = cls(
                    archive["feature"],
                    archive["border"],
                    archive["leaf"],
                    float(archive["scale"]),
                    archive["bias"],
                )
        except Exception as error:  # zip, zlib and numpy each raise their own on rotten bytes
            raise BadInputError(f"trees.npz cannot be read ({type(error).__name__}: {error})") from error
        trees.check()
        return trees

    def check(self) -> None:
        """Refuse arrays that do not form a forest over `INPUT_NAMES`."""
        depth, count = self.feature.shape if self.feature.ndim == 2 else (-1, -1)  # noqa: PLR2004  # a matrix
        good = (
            0 <= depth <= _MAX_DEPTH
            and self.border.shape == (depth, count)
            and self.leaf.shape == (count << depth, len(LEVELS))
            and self.bias.shape == (len(LEVELS),)
            and bool(np.isfinite(self.leaf).all() and np.isfinite(self.bias).all() and np.isfinite(self.scale))
            and not bool(np.isnan(self.border).any())
            and bool(((self.feature >= 0) & (self.feature < len(INPUT_NAMES))).all())
        )
        if not good:
            raise BadInputError("trees.npz does not hold a forest over the inputs of this version")


class Evaluator:
    """`Trees` laid out for speed."""

    def __init__(self, trees: Trees) -> None:
        depth, count = trees.feature.shape
        self._feature = trees.feature.astype(np.intp)
        self._border = trees.border
        self._weight = (1 << np.arange(depth)).astype(np.float32)
        self._start = np.arange(count) << depth
        self._leaf = trees.leaf
        self._scale = trees.scale
        self._bias = trees.bias

    def row(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Evaluate one row of inputs [F] to [K]."""
        leaf = self._weight.dot(x.take(self._feature) > self._border).astype(np.intp)
        leaf += self._start
        out: npt.NDArray[np.float64] = self._leaf.take(leaf, 0).sum(0) * self._scale + self._bias
        return out

    def matrix(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Evaluate inputs [n, F] to [n, K], row by row the same bits as `row`."""
        out = np.empty((len(x), len(self._bias)))
        for begin in range(0, len(x), _CHUNK):
            bits = x[begin : begin + _CHUNK][:, self._feature] > self._border
            leaf = np.zeros((len(bits), len(self._start)), np.intp)
            for level in range(bits.shape[1]):
                leaf |= bits[:, level].astype(np.intp) << level
            leaf += self._start
            out[begin : begin + _CHUNK] = self._leaf[leaf].sum(1)
        return out * self._scale + self._bias


class TreesModel(ForecastModel):
    """CatBoost MultiQuantile served by numpy, with the corrections of its calibration block."""

    name: ClassVar[str] = "catboost-multiquantile"

    def __init__(
        self,
        origin: Origin,
        trees: Trees,
        offsets: npt.NDArray[np.float64] | None = None,
        median_weight: float = 1.0,
    ) -> None:
        super().__init__(origin)
        trees.check()
        self.trees = trees
        self.offsets = np.zeros(len(LEVELS)) if offsets is None else offsets
        self._offsets: list[float] = self.offsets.tolist()
        self.median_weight = median_weight
        self._evaluator = Evaluator(trees)

    def scaled(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Evaluate, sort (MultiQuantile outputs may cross), shrink the median, correct the intervals."""
        check_width(x)
        raw = self._evaluator.matrix(x)
        raw.sort(axis=1)
        raw[:, _MEDIAN] *= self.median_weight
        return apply_offsets(raw, self.offsets)

    def scaled_row(self, x: npt.NDArray[np.float32]) -> list[float]:
        """Do the same of one row [1, F] with five floats: numpy pays a microsecond for each step."""
        raw: list[float] = self._evaluator.row(x[0]).tolist()
        raw.sort()
        raw[_MEDIAN] *= self.median_weight
        return sorted([value + offset for value, offset in zip(raw, self._offsets, strict=True)])
