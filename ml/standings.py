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

__all__ = ["figures", "leaderboard", "one_sided"]

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


def figures(board: Leaderboard, model: str) -> dict[str, float | int | None]:
    """Give what one model came to in few numbers: all rows, and over the folds."""
    mine = [one for one in board.standings if one.model == model and not one.pair]
    whole, parts = next(one for one in mine if one.fold is None), [one for one in mine if one.fold is not None]
    covered = [one.metrics.coverage90 for one in parts]
    return {
        "pinball_skill_pct": round(100 * whole.pinball_skill, 4),
        "dm": whole.dm,
        "dm_p": whole.dm_p,
        "folds_positive": sum(one.pinball_skill > 0 for one in parts),
        "folds": len(parts),
        "skill_pct_worst_fold": round(100 * min(one.pinball_skill for one in parts), 4),
        "coverage50": round(whole.metrics.coverage50, 4),
        "coverage90": round(whole.metrics.coverage90, 4),
        "coverage90_lowest_fold": round(min(covered), 4),
        "coverage90_highest_fold": round(max(covered), 4),
        "width90_bps": round(whole.metrics.width90_bps, 2),
        "mae_skill_pct": round(100 * whole.mae_skill, 4),
        "mae_dm": whole.mae_dm,
        "rmse_skill_pct": round(100 * whole.rmse_skill, 4),
        "direction": round(whole.metrics.direction, 4),
        "rows": whole.metrics.rows,
    }


def one_sided(dm: float) -> float:
    """Give the probability of a Diebold-Mariano as low as this one under equal losses."""
    return 0.5 * math.erfc(-dm / math.sqrt(2.0)) if math.isfinite(dm) else math.nan


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
