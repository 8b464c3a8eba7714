"""Simulated forecasts of many pairs at once: a market with volatility clusters, a model, the baseline, their losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ml.baseline import GAUSSIAN
from ml.drift import Told, Watch
from ml.model import LEVELS
from tables.records import MINUTE_MS, Alert, ForecastError
from tests.support.samples import START_MS

if TYPE_CHECKING:
    import numpy.typing as npt

    from ml.settings import DriftSettings

__all__ = ["Fault", "Series", "error", "first_alarms", "raised", "simulate"]

_Q, _L = np.array(GAUSSIAN), np.array(LEVELS)
_STEP = 0.002
_SETTLE = 2_000
_SPAN = 60
SIGMA_BPS = 10.0


class Fault(NamedTuple):
    """What goes wrong with the model from one outcome on."""

    begins: int = 1 << 30
    width: float = 1.0
    """Factor of its quantiles."""
    bias: float = 0.0
    """Added to all of them (units of the volatility)."""


class Series(NamedTuple):
    """By outcome and series [n, series]; losses in units of the volatility."""

    loss: npt.NDArray[np.float64]
    baseline: npt.NDArray[np.float64]
    missed: npt.NDArray[np.bool_]


def simulate(seed: int, series: int, outcomes: int, minutes: int, fault: Fault = Fault()) -> Series:  # noqa: B008  # immutable
    """Forecast `series` markets every minute, `minutes` ahead; both forecasts are moved as `ml.rolling` does.

    Returns are GARCH(1, 1) with Student's t of 4 degrees; the model knows a slow factor of the volatility that the
    baseline does not know, and errs by a fast one. Chosen so that the loss differences are as large, and hang together
    over an hour at least as much, as those of a trained model on recorded minutes (docs/adr/0020-drift.md).
    """
    rng = np.random.default_rng(seed)
    knows, errs = _walk(rng, outcomes, series, 0.9), _walk(rng, outcomes, series, 0.3)
    y = _market(rng, outcomes, series, minutes) * np.exp(0.15 * knows)
    out = Series(np.empty_like(y), np.empty_like(y), np.empty(y.shape, dtype=bool))
    moved = [np.zeros((series, len(_L))) for _ in range(2)]
    published: list[list[npt.NDArray[np.float64]]] = []
    for at in range(outcomes):
        if at > minutes:  # what was known when this forecast was made
            past = at - minutes - 1
            for offsets, quantiles in zip(moved, published[past], strict=True):
                np.add(offsets, _STEP * (_L - (y[past][:, None] < quantiles)) * (_L != 0.5), out=offsets)
        wrong = at >= fault.begins
        width = (fault.width if wrong else 1.0) * np.exp(0.15 * knows[at] + 0.08 * errs[at])
        model = _Q * width[:, None] + (fault.bias if wrong else 0.0) + 0.03 * errs[at][:, None]
        published.append(
            [np.sort(one + by, axis=1) for one, by in zip((model, np.tile(_Q, (series, 1))), moved, strict=True)]
        )
        out.loss[at], out.baseline[at] = (_pinball(y[at], quantiles) for quantiles in published[at])
        low, high = published[at][0][:, 0], published[at][0][:, -1]
        out.missed[at] = (y[at] < low) | (y[at] >= high)
    return out


def _walk(rng: np.random.Generator, outcomes: int, series: int, memory: float) -> npt.NDArray[np.float64]:
    out, now = np.empty((outcomes, series)), rng.normal(size=series)
    for at in range(outcomes):
        now = memory * now + math.sqrt(1 - memory**2) * rng.normal(size=series)
        out[at] = now
    return out


def _market(rng: np.random.Generator, outcomes: int, series: int, minutes: int) -> npt.NDArray[np.float64]:
    """Give returns over `minutes` in units of the EWMA volatility at their start."""
    size = outcomes + minutes + _SETTLE
    variance, ewma = np.ones(series), np.ones(series)
    returns, sigma = np.empty((size, series)), np.empty((size, series))
    decay = math.exp(-1 / _SPAN)
    for at in range(size):
        returns[at] = np.sqrt(variance / 2) * rng.standard_t(4, series)
        variance = 0.02 + 0.08 * returns[at] ** 2 + 0.90 * variance
        ewma = decay * ewma + (1 - decay) * returns[at] ** 2
        sigma[at] = np.sqrt(ewma)
    path = np.cumsum(returns, axis=0)
    begin = np.arange(_SETTLE - 1, _SETTLE - 1 + outcomes)
    return np.asarray((path[begin + minutes] - path[begin]) / (sigma[begin] * math.sqrt(minutes)))


def _pinball(y: npt.NDArray[np.float64], quantiles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    gap = y[:, None] - quantiles
    return np.asarray(np.maximum(_L * gap, (_L - 1.0) * gap).mean(axis=1))


def error(
    at: int, loss: float = 1.0, baseline: float = 1.0, *, missed: bool = False, minutes: int = 1, version: str = "1"
) -> ForecastError:
    """Make the scored forecast number `at`; losses in bps."""
    return ForecastError(
        pair="BTC/USD",
        horizon_s=minutes * 60,
        feature_open_ms=START_MS + at * MINUTE_MS,
        target_ms=START_MS + (at + 1 + minutes) * MINUTE_MS,
        model="trees",
        model_version=version,
        trusted=True,
        source="sim",
        base_price=100.0,
        outcome_price=100.0,
        outcome_revision=0,
        synthetic=False,
        return_bps=0.0,
        error_bps=0.0,
        pinball_bps=loss,
        baseline_pinball_bps=baseline,
        below=(missed, missed, True, True, True),
        scored_at_ms=7,
    )


def first_alarms(series: Series, minutes: int, rules: DriftSettings, begin: int = 0) -> list[dict[str, int]]:
    """Run the detectors over each series: outcomes from `begin` to its first alert of each name."""
    found = []
    for at in range(series.loss.shape[1]):
        columns = (one[:, at].tolist() for one in series)
        watch, told = Watch(), Told()
        for index, (loss, baseline, missed) in enumerate(zip(*columns, strict=True)):
            one = error(index, loss * SIGMA_BPS, baseline * SIGMA_BPS, missed=missed, minutes=minutes)
            watch.outcome(one, SIGMA_BPS, rules, told)
        first: dict[str, int] = {}
        for alert in told.alerts:
            index = (alert.at_ms - START_MS) // MINUTE_MS - minutes - 1
            if alert.raised and index >= begin:
                first.setdefault(alert.name, index - begin)
        found.append(first)
    return found


def raised(alerts: list[Alert]) -> list[tuple[str, bool]]:
    """Give the name of each alert, and whether it is raised."""
    return [(one.name, one.raised) for one in alerts]
