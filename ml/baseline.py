"""The forecast to beat: last price, spread by the EWMA volatility."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np

from ml.model import LEVELS, ForecastModel, Origin

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["GAUSSIAN", "BaselineModel"]

GAUSSIAN: Final = (-1.6448536269514722, -0.6744897501960817, 0.0, 0.6744897501960817, 1.6448536269514722)
"""Standard normal quantiles at `LEVELS`: the first champion, before anything is known of the market."""


class BaselineModel(ForecastModel):
    """The same scaled quantiles for every row; the median is the last price."""

    name: ClassVar[str] = "ewma-vol"

    def __init__(self, origin: Origin, constant: tuple[float, ...] = GAUSSIAN) -> None:
        super().__init__(origin)
        self.constant = np.sort(np.array(constant, dtype=np.float64))

    @classmethod
    def fit(cls, origin: Origin, y: npt.NDArray[np.float64]) -> Self:
        """Take the quantiles of scaled returns as they were [n]."""
        low, lower, _, upper, high = np.quantile(y, LEVELS).tolist()
        return cls(origin, (min(low, 0.0), min(lower, 0.0), 0.0, max(upper, 0.0), max(high, 0.0)))

    def scaled(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Repeat the constant quantiles; the inputs are not looked at."""
        return np.repeat(self.constant[None, :], len(x), axis=0)
