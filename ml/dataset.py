"""From stored features to samples: targets by timestamp, nothing synthetic, nothing that sees the future."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from ml.checks.contract import sound
from ml.checks.quality import Quality, look, newest_order, warm
from ml.inputs import inputs, raw_matrix
from redpanda.errors import BadInputError
from tables.features.catalog import FEATURE_NAMES
from tables.records import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["Quality", "Samples", "Split", "Table", "every_hth", "prepare", "samples", "split"]

CLIP: Final = 8.0
"""Largest scaled return that is trained on: one crash must not own the loss."""
_NEEDED: Final = ("pair", "open_ms", "open", "high", "low", "close", "synthetic", "bars", *FEATURE_NAMES)


@dataclass(frozen=True, slots=True)
class Table:
    """Clean rows of all pairs, ordered by pair and time, with their inputs."""

    pair: npt.NDArray[np.int32]
    open_ms: npt.NDArray[np.int64]
    close: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    """Volatility per minute (log return)."""
    x: npt.NDArray[np.float32]
    priced: npt.NDArray[np.bool_]
    """Something traded and the prices are sound: may be a target."""
    usable: npt.NDArray[np.bool_]
    """Priced and warm: may be a base."""
    pairs: tuple[str, ...]
    quality: Quality


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows with what happened after them."""

    pair: npt.NDArray[np.int32]
    open_ms: npt.NDArray[np.int64]
    close: npt.NDArray[np.float64]
    sigma: npt.NDArray[np.float64]
    x: npt.NDArray[np.float32]
    ret: npt.NDArray[np.float64]
    """Log return from the close to the close one horizon later."""
    y: npt.NDArray[np.float64]
    """`ret` over sigma * sqrt(minutes), clipped at +-8."""

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Select rows by mask or index."""
        parts = (self.pair, self.open_ms, self.close, self.sigma, self.x, self.ret, self.y)
        return type(self)(*(part[rows] for part in parts))


@dataclass(frozen=True, slots=True)
class Split:
    """Three blocks in time order; no label of one reaches into the next."""

    train: Samples
    calibration: Samples
    test: Samples


def _check_columns(columns: Mapping[str, npt.NDArray[Any]]) -> None:
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise BadInputError(
            f"the feature table lacks {', '.join(missing[:5])}: run `tickcast store migrate`, then refill it"
        )


def prepare(columns: Mapping[str, npt.NDArray[Any]]) -> Table:
    """Order, clean and look at the columns of the feature table (one timeframe, 1m).

    Raises
    ------
    BadInputError
        A column is missing.
    """
    _check_columns(columns)
    pairs, codes = np.unique(np.asarray(columns["pair"], dtype=str), return_inverse=True)
    code: npt.NDArray[np.int32] = codes.astype(np.int32)
    order = newest_order(code, np.asarray(columns["open_ms"], dtype=np.int64))
    rows = {name: np.asarray(columns[name])[order] for name in _NEEDED[1:]}
    sigma = rows["ewma_vol_60"].astype(np.float64)
    priced = sound(rows) & ~rows["synthetic"].astype(bool)
    return Table(
        pair=code[order],
        open_ms=rows["open_ms"].astype(np.int64),
        close=rows["close"].astype(np.float64),
        sigma=sigma,
        x=inputs(raw_matrix(rows)),
        priced=priced,
        usable=priced & warm(rows["bars"], sigma),
        pairs=tuple(str(name) for name in pairs),
        quality=look(columns),
    )


def samples(table: Table, horizon_s: int) -> Samples:
    """Label every usable row whose target minute was traded; across a gap there is no label."""
    minutes = horizon_s // 60
    width = int(table.open_ms.max(initial=0)) + horizon_s * 1_000 + MINUTE_MS
    key = table.pair.astype(np.int64) * width + table.open_ms  # ordered: pairs do not touch
    wanted = key + horizon_s * 1_000
    at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
    base = np.flatnonzero(table.usable & (key[at] == wanted) & table.priced[at]) if len(key) else at
    ret = np.log(table.close[at[base]] / table.close[base])
    sigma = table.sigma[base]
    y = np.clip(ret / (sigma * math.sqrt(minutes)), -CLIP, CLIP)
    return Samples(table.pair[base], table.open_ms[base], table.close[base], sigma, table.x[base], ret, y)


def every_hth(rows: Samples, horizon_s: int) -> Samples:
    """Keep the minutes that are multiples of the horizon: labels of one pair do not overlap."""
    return rows.take(rows.open_ms % (horizon_s * 1_000) == 0)


def split(rows: Samples, horizon_s: int, train_share: float = 0.6, calibration_share: float = 0.15) -> Split:
    """Cut by time at quantiles of the rows.

    Purge: a label that reaches the next block's start is dropped. Embargo: that block starts a horizon later.
    """
    if not len(rows):  # an empty array has no quantiles
        return Split(rows, rows, rows)
    edges = np.quantile(rows.open_ms, (train_share, train_share + calibration_share), method="higher")
    first, second = (int(edge) for edge in edges)
    reach = horizon_s * 1_000
    end_ms = rows.open_ms + MINUTE_MS + reach  # when the target's close is known
    return Split(
        train=rows.take(end_ms <= first),
        calibration=rows.take((rows.open_ms >= first + reach) & (end_ms <= second)),
        test=rows.take(rows.open_ms >= second + reach),
    )
