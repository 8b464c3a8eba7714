"""From tested forecasts to the leaderboard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.evaluate import diebold_mariano, measure, pinball, skill
from ml.leaderboard import Leaderboard, Standing
from ml.model import LEVELS
from ml.walkforward import Tested
from ml.zoo.candidate import MEDIAN
from ml.zoo.naive import BASELINE

__all__ = ["leaderboard", "one_sided"]

_BPS = 1e4


def leaderboard(tested: Tested, horizon_s: int, pairs: tuple[str, ...]) -> Leaderboard:
    """Compare all models with the EWMA-volatility baseline on the same rows: all, per fold, per pair."""
    rows, everything = tested.rows, np.arange(len(tested.rows))
    parts: list[tuple[int | None, str, npt.NDArray[np.intp]]] = [(None, "", everything)]
    parts += [(at, "", np.flatnonzero(tested.fold == at)) for at in range(len(tested.spans))]
    if len(pairs) > 1:
        parts += [(None, name, np.flatnonzero(rows.pair == code)) for code, name in enumerate(pairs)]
    standings = [
        _standing(name, fold, pair, tested, part, horizon_s)
        for name in tested.quantiles
        for fold, pair, part in parts
        if len(part)
    ]
    overall = {one.model: one.metrics.pinball_bps for one in standings if one.fold is None and not one.pair}
    standings.sort(key=lambda one: (one.fold is not None or bool(one.pair), overall[one.model]))
    calibration = {
        name: [float((rows.ret < quantiles[:, at]).mean()) for at in range(len(LEVELS))]
        for name, quantiles in tested.quantiles.items()
    }
    return Leaderboard(horizon_s, pairs, tested.spans, standings, calibration)


def _standing(
    name: str, fold: int | None, pair: str, tested: Tested, part: npt.NDArray[np.intp], horizon_s: int
) -> Standing:
    ret, open_ms = tested.rows.ret[part], tested.rows.open_ms[part]
    mine, base = tested.quantiles[name][part], tested.quantiles[BASELINE.name][part]
    losses = pinball(ret, mine), pinball(ret, base)
    errors = (ret - mine[:, MEDIAN]) * _BPS, (ret - base[:, MEDIAN]) * _BPS
    root = [math.sqrt(float((error**2).mean())) for error in errors]
    dm = diebold_mariano(*losses, open_ms, horizon_s)
    mae_dm = diebold_mariano(np.abs(errors[0]), np.abs(errors[1]), open_ms, horizon_s)
    return Standing(
        model=name,
        fold=fold,
        pair=pair,
        metrics=measure(ret, mine),
        pinball_skill=skill(*losses),
        mae_skill=skill(np.abs(errors[0]), np.abs(errors[1])),
        rmse_skill=1.0 - root[0] / root[1] if root[1] > 0 else 0.0,
        dm=_known(dm),
        dm_p=_known(one_sided(dm)),
        mae_dm=_known(mae_dm),
    )


def one_sided(dm: float) -> float:
    """Give the probability of a Diebold-Mariano as low as this one under equal losses."""
    return 0.5 * math.erfc(-dm / math.sqrt(2.0)) if math.isfinite(dm) else math.nan


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
