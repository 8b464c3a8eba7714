"""What every forecasting model is: scaled-return quantiles behind one small interface."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
import numpy as np

from ml.inputs import INPUT_NAMES, MIN_SIGMA
from ml.row_inputs import row_inputs
from redpanda.errors import BadInputError
from tables.features.catalog import FEATURE_SET
from tables.records import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from ml.input_drift import Reference
    from tables.records import Features

__all__ = ["LEVELS", "WARM_UP_BARS", "ForecastModel", "Origin", "Quantiles", "probability_up"]

LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
WARM_UP_BARS: Final = 130
"""Candles after which all indicators but one MACD signal are warm; nothing earlier is trained on (count)."""


class Quantiles(msgspec.Struct, frozen=True, gc=False):
    """A forecast: price quantiles, sorted, and the probability of a price above the last close."""

    q05: float
    q25: float
    q50: float
    q75: float
    q95: float
    p_up: float
    sigma_bps: float
    """Volatility over the horizon that the quantiles were scaled with (log return, bps)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of what a loaded model is."""

    horizon_s: int
    version: str = "0"
    alias: str = ""
    feature_set: str = FEATURE_SET
    source: str = ""
    """Where its training data came from: `kraken`, `sim`, `replay:FILE`; empty for the untrained baseline."""
    data_to_ms: int | None = None
    """open_ms of the newest candle that it was trained, calibrated or tested on; None where it never gets old."""
    references: Mapping[str, Reference] = field(default_factory=dict)
    """Training inputs by pair, to compare what comes with (`ml.input_drift`); empty for the baseline."""


class ForecastModel(ABC):
    """Quantiles of the log return over the horizon, in units of sigma_60 * sqrt(horizon in minutes).

    A model differs from another one only in `scaled`; prices, sorting and probabilities are made here.
    """

    name: ClassVar[str]

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._root_minutes = math.sqrt(origin.horizon_s / 60)

    @property
    def version(self) -> str:
        """Version of its registered model."""
        return self.origin.version

    @property
    def alias(self) -> str:
        """Alias it was loaded by, for example `champion`."""
        return self.origin.alias

    @property
    def horizon_s(self) -> int:
        """How far it looks (s)."""
        return self.origin.horizon_s

    @property
    def feature_set(self) -> str:
        """Hash of the features it understands."""
        return self.origin.feature_set

    def expires_at_ms(self, life_ms: int) -> int | None:
        """Give when its data are `life_ms` old; None for a model that learned nothing that could get old."""
        return None if self.origin.data_to_ms is None else self.origin.data_to_ms + MINUTE_MS + life_ms

    @abstractmethod
    def scaled(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Give sorted scaled quantiles [n, 5] of inputs [n, len(INPUT_NAMES)]."""

    def scaled_row(self, x: npt.NDArray[np.float32]) -> list[float]:
        """Give those of one row of inputs [1, len(INPUT_NAMES)], to the same bits."""
        row: list[float] = self.scaled(x)[0].tolist()
        return row

    def quantiles(
        self,
        features: Features,
        corrected: Callable[[list[float]], list[float]] | None = None,
        x: npt.NDArray[np.float32] | None = None,
    ) -> Quantiles | None:
        """Forecast from one record.

        Parameters
        ----------
        corrected
            Takes the scaled quantiles [5] and gives them moved and sorted (`ml.rolling.correct`); None leaves them.
        x
            `row_inputs(features)`, from a caller who asks several models; None: made here.

        Returns
        -------
        None while the volatility is not known or zero. A record of fewer than `WARM_UP_BARS` bars is
        answered: the caller marks the forecast as untrusted.

        Raises
        ------
        BadInputError
            The record was made with other feature definitions than the model.
        """
        if features.feature_set != self.origin.feature_set:
            raise BadInputError(
                f"features of set {features.feature_set} met a model of set {self.origin.feature_set}: "
                "restart worker and trainer on the same version of tickcast, then train again"
            )
        sigma = features.values.get("ewma_vol_60")
        if sigma is None or not sigma > MIN_SIGMA:
            return None
        scaled = self.scaled_row(row_inputs(features) if x is None else x)
        if corrected is not None:
            scaled = corrected(scaled)
        unit = sigma * self._root_minutes
        prices = features.close * np.exp(np.array(scaled) * unit)
        q05, q25, q50, q75, q95 = prices.tolist()
        sigma_bps = unit * 1e4
        return Quantiles(q05, q25, q50, q75, q95, probability_up(scaled), sigma_bps)

    def returns(self, x: npt.NDArray[np.float32], sigma: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Give log-return quantiles [n, 5]; sigma is the volatility per minute [n]."""
        return self.scaled(x) * (sigma * self._root_minutes)[:, None]


def probability_up(scaled: Sequence[float]) -> float:
    """Read P(return > 0) off the piecewise linear distribution through the sorted quantiles [5].

    Beyond the outer quantiles it stays at 0.05 or 0.95: five points say nothing about the tails.
    """
    above = bisect_right(scaled, 0.0)
    if above == 0:
        return 1.0 - LEVELS[0]
    if above == len(LEVELS):
        return 1.0 - LEVELS[-1]
    low, high = scaled[above - 1], scaled[above]
    # The share of the way first: a slope over a tiny distance would be infinite.
    share = -low / (high - low)
    return 1.0 - (LEVELS[above - 1] + share * (LEVELS[above] - LEVELS[above - 1]))


def check_width(x: npt.NDArray[np.float32]) -> None:
    """Refuse inputs that are not [n, len(INPUT_NAMES)]."""
    if x.ndim != 2 or x.shape[1] != len(INPUT_NAMES):  # noqa: PLR2004  # a matrix
        raise BadInputError(f"model inputs must be [n, {len(INPUT_NAMES)}], not {x.shape}")
