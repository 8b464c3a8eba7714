"""One horizon from prepared rows to a registered version with a verdict."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from ml import dataset
from ml.baseline import BaselineModel
from ml.catboost_model import Params, fit_model, importance
from ml.checks.contract import contract
from ml.errors import ModelRefusedError
from ml.evaluate import Metrics, diebold_mariano, folds, measure, pinball, skill
from ml.gate import Check, Verdict, decide
from ml.input_drift import references
from ml.inputs import INPUT_SET
from ml.model import LEVELS, Origin
from ml.registry import REPORT, Record, Registry
from ml.report.content import Content
from ml.report.page import render
from ml.report.profile import profile
from ml.revision import code_revision
from ml.tuning import study_name, trials, tune
from redpanda.errors import UnreachableError
from tables.features.catalog import FEATURE_SET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ml.model import ForecastModel
    from ml.settings import TrainerSettings

__all__ = ["FoldFigures", "HorizonReport", "contract", "train_horizon"]

_MEDIAN: Final = LEVELS.index(0.5)
FOR_EVER_MS: Final = 1 << 62
_MIN_BLOCK: Final = 100  # rows of a block below which nothing is fitted or judged
_log = logging.getLogger("tickcast.trainer")


class FoldFigures(msgspec.Struct, frozen=True):
    """The challenger on one stretch of the test block."""

    from_ms: int
    to_ms: int
    """Of the last row (open_ms)."""
    rows: int
    pinball_bps: float
    skill: float
    """Pinball skill over the baseline (share)."""
    coverage50: float
    coverage90: float


class HorizonReport(msgspec.Struct, frozen=True):
    """What one training of one horizon came to."""

    horizon_s: int
    promoted: bool
    reasons: list[str]
    """Checks of the gate that failed, or why nothing was trained; empty when promoted."""
    version: str
    """Of the challenger; empty where nothing was registered."""
    champion_version: str
    """Who serves after this training."""
    rows: dict[str, int] = {}
    """Of the blocks `train` (every h-th label), `calibration`, `test`."""
    skill: float | None = None
    """Pinball skill over the trained baseline on the test block (share)."""
    mae_skill: float | None = None
    dm_baseline: float | None = None
    coverage90: float | None = None
    metrics: dict[str, Metrics] = {}
    """`challenger`, `baseline`, `champion` on the same rows."""
    checks: list[Check] = []
    params: Params | None = None
    trials: int = 0
    folds: list[FoldFigures] = []
    """Of the test block, in time order."""
    calibration: dict[str, list[float]] = {}
    """By model: share of outcomes below each of the five quantiles."""
    importance: dict[str, float] = {}
    """Of the inputs, by CatBoost (per cent, sum 100)."""
    quality: dataset.Quality | None = None


class Scored(NamedTuple):
    """One model on the test block."""

    quantiles: np.ndarray[Any, np.dtype[np.float64]]
    loss: np.ndarray[Any, np.dtype[np.float64]]
    error: np.ndarray[Any, np.dtype[np.float64]]
    """Absolute error of the median (log return)."""


def train_horizon(
    table: dataset.Table,
    horizon_s: int,
    settings: TrainerSettings,
    registry: Registry,
    progress: Callable[[str, int, int], None],
) -> HorizonReport:
    """Tune, train, calibrate, test once, decide, register, and promote where the gate says so.

    Parameters
    ----------
    progress
        Called with a label and what is done of how much.

    Raises
    ------
    UnreachableError
        The registry did not answer: nothing is promoted.
    """
    blocks = dataset.split(dataset.samples(table, horizon_s), horizon_s)
    train = dataset.every_hth(blocks.train, horizon_s)
    rows = {"train": len(train), "calibration": len(blocks.calibration), "test": len(blocks.test)}
    if min(rows.values()) < _MIN_BLOCK:
        thin = f"too few rows: {rows}, needed are {_MIN_BLOCK} in each block"
        return HorizonReport(horizon_s, False, [thin], "", registry.champion_version(horizon_s) or "", rows)
    label = f"{horizon_s // 60} min"
    tuned = tune(blocks.train, horizon_s, settings, lambda done, all_: progress(f"tuning {label}", done, all_))
    origin = Origin(
        horizon_s,
        source=settings.source,
        data_to_ms=table.quality.last_ms,
        references=references(blocks.train, table.pairs),
    )

    def step(iteration: int, _loss: float | None) -> bool:
        progress(f"training {label}", iteration, tuned.params.iterations)
        return True

    model, trained = fit_model(
        train,
        blocks.calibration,
        tuned.params,
        origin,
        threads=settings.train_threads,
        seed=settings.train_seed,
        step=step,
    )
    baseline = BaselineModel.fit(origin, np.concatenate([train.y, blocks.calibration.y]))
    models = {"challenger": model, "baseline": baseline, "champion": _champion(registry, horizon_s)}
    report = judge(models, blocks.test, table.quality, settings.model_life_ms)
    report = msgspec.structs.replace(
        report, rows=rows, params=tuned.params, trials=tuned.trials, importance=importance(trained)
    )
    report = _register(report, model, trained, table, settings, registry)
    progress(f"report {label}", 0, 1)
    _publish(report, table, train, blocks, settings, registry)
    return report


def _champion(registry: Registry, horizon_s: int) -> ForecastModel | None:
    try:
        return registry.champion(horizon_s)
    except (ModelRefusedError, UnreachableError) as error:
        _log.warning("the champion cannot be compared with: %s", error)
        return None


def _score(model: ForecastModel, test: dataset.Samples) -> Scored:
    quantiles = model.returns(test.x, test.sigma)
    return Scored(quantiles, pinball(test.ret, quantiles), np.abs(test.ret - quantiles[:, _MEDIAN]))


def judge(
    models: Mapping[str, ForecastModel | None],
    test: dataset.Samples,
    quality: dataset.Quality,
    life_ms: int = FOR_EVER_MS,
) -> HorizonReport:
    """Score all models on the same rows and put the evidence before the gate.

    Parameters
    ----------
    life_ms
        Age of a champion's newest data from which it has expired (ms).
    """
    scored = {name: _score(model, test) for name, model in models.items() if model is not None}
    challenger, baseline, champion = scored["challenger"], scored["baseline"], scored.get("champion")
    model = models["challenger"]
    assert model is not None  # noqa: S101  # for the type checker
    horizon_s = model.horizon_s

    def dm(loss: Any, reference: Any) -> float:
        return diebold_mariano(loss, reference, test.open_ms, horizon_s)

    stretches = [_fold(test, part, challenger, baseline) for part in folds(test.open_ms, horizon_s)]
    dm_baseline = dm(challenger.loss, baseline.loss)
    over_baseline = skill(challenger.loss, baseline.loss)
    verdict: Verdict = decide(
        dm_baseline=dm_baseline,
        dm_champion=dm(challenger.loss, champion.loss) if champion else None,
        skill=over_baseline,
        mae_dm=dm(challenger.error, baseline.error),
        fold_coverage90=[fold.coverage90 for fold in stretches],
        fold_skill=[fold.skill for fold in stretches],
        contract=contract(quality),
        hashes_match=model.feature_set == FEATURE_SET,
        champion_expired=_is_expired(models.get("champion"), quality.last_ms, life_ms),
    )
    metrics = {name: measure(test.ret, one.quantiles) for name, one in scored.items()}
    return HorizonReport(
        horizon_s=horizon_s,
        promoted=verdict.promote,
        reasons=verdict.reasons,
        version="",
        champion_version="",
        skill=over_baseline,
        mae_skill=skill(challenger.error, baseline.error),
        dm_baseline=dm_baseline if math.isfinite(dm_baseline) else None,
        coverage90=metrics["challenger"].coverage90,
        metrics=metrics,
        checks=verdict.checks,
        folds=stretches,
        calibration={
            name: [float(share) for share in (test.ret[:, None] < one.quantiles).mean(axis=0)]
            for name, one in scored.items()
        },
        quality=quality,
    )


def _is_expired(champion: ForecastModel | None, now_ms: int, life_ms: int) -> bool:
    expires_at_ms = champion.expires_at_ms(life_ms) if champion is not None else None
    return expires_at_ms is not None and expires_at_ms <= now_ms


def _fold(test: dataset.Samples, part: np.ndarray[Any, Any], challenger: Scored, baseline: Scored) -> FoldFigures:
    measured = measure(test.ret[part], challenger.quantiles[part])
    return FoldFigures(
        from_ms=int(test.open_ms[part].min()),
        to_ms=int(test.open_ms[part].max()),
        rows=len(part),
        pinball_bps=measured.pinball_bps,
        skill=skill(challenger.loss[part], baseline.loss[part]),
        coverage50=measured.coverage50,
        coverage90=measured.coverage90,
    )


def _register(
    report: HorizonReport,
    model: ForecastModel,
    trained: Any,
    table: dataset.Table,
    settings: TrainerSettings,
    registry: Registry,
) -> HorizonReport:
    quality = table.quality
    numbers = {
        f"{name}.{key}": float(value)
        for name, metrics in report.metrics.items()
        for key, value in msgspec.to_builtins(metrics).items()
    }
    numbers |= {"pinball_skill": report.skill or 0.0, "mae_skill": report.mae_skill or 0.0}
    record = Record(
        tags={
            "kind": model.name,
            "source": settings.source,
            "pairs": ",".join(table.pairs),
            "data_from_ms": str(quality.first_ms),
            "data_to_ms": str(quality.last_ms),
            "verdict": "promote" if report.promoted else "refuse",
            "refused_for": "; ".join(report.reasons),
        },
        params={key: str(value) for key, value in msgspec.to_builtins(report.params).items()}
        | {"input_set": INPUT_SET, "seed": str(settings.train_seed), "trials": str(report.trials)},
        metrics=numbers,
        verdict=msgspec.to_builtins({"report": report, "quality": quality}),
    )
    version = registry.register(model, record, trained)
    if report.promoted:
        registry.promote(model.horizon_s, version)
    champion = registry.champion_version(model.horizon_s) or ""
    return msgspec.structs.replace(report, version=version, champion_version=champion)


def _publish(
    report: HorizonReport,
    table: dataset.Table,
    train: dataset.Samples,
    blocks: dataset.Split,
    settings: TrainerSettings,
    registry: Registry,
) -> None:
    """Write the report beside the version; one that fails costs a report, not the training."""
    content = Content(
        report=report,
        pairs=table.pairs,
        source=settings.source,
        code=code_revision(),
        feature_set=FEATURE_SET,
        input_set=INPUT_SET,
        made_ms=time.time_ns() // 1_000_000,
        features=profile(train.x, blocks.test.x),
        trials=trials(settings, study_name(settings.source, report.horizon_s, int(blocks.train.open_ms.max()))),
    )
    try:
        registry.attach(report.horizon_s, report.version, REPORT, render(content))
    except UnreachableError as error:
        _log.warning("version %s has no report: %s", report.version, error)
    try:
        registry.prune(report.horizon_s, REPORT, settings.train_keep_reports)
    except UnreachableError as error:
        _log.warning("old reports stay for now: %s", error)
