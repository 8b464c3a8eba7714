"""Hyper-parameters by Optuna: journal file, resume, pruning, a budget in seconds."""

from __future__ import annotations

import logging
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from ml.catboost_model import DEFAULTS, Params, fit
from ml.dataset import Samples, every_hth, split
from ml.inputs import INPUT_SET
from redpanda.errors import MissingToolError
from tables.records import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ml.settings import TrainerSettings

__all__ = ["Trial", "Tuned", "study_name", "trials", "tune"]

_MAX_ROWS: Final = 20_000  # of the newest training rows: ranks of parameters need no more
_MAX_ITERATIONS: Final = 400
_REPORT_EVERY: Final = 20
_JOURNAL: Final = "journal.log"
_log = logging.getLogger("tickcast.tuning")


class Tuned(NamedTuple):
    """What tuning found."""

    params: Params
    trials: int
    """Of the whole study, resumed ones included."""
    best_loss: float | None


class Trial(NamedTuple):
    """One set of parameters that was tried."""

    number: int
    state: str
    """Optuna's: `COMPLETE`, `PRUNED` (also by the budget), `FAIL`, `RUNNING` where its process died."""
    loss: float | None
    """On the validation rows; of a pruned one the last that was reported."""
    params: dict[str, float]
    seconds: float


def trials(settings: TrainerSettings, name: str) -> list[Trial]:
    """Read a study from the journal, for its plots; empty where there is none."""
    journal = settings.home / "optuna" / _JOURNAL
    if not journal.exists():
        return []
    optuna, storage = _optuna(), _storage(journal.parent)
    if name not in optuna.get_all_study_names(storage):
        return []
    found = []
    for one in optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False):
        seconds = one.duration.total_seconds() if one.duration is not None else 0.0
        last = one.intermediate_values.get(one.last_step) if one.last_step is not None else None
        loss = one.value if one.state.name == "COMPLETE" else last
        found.append(Trial(one.number, one.state.name, loss, dict(one.params), seconds))
    return found


def study_name(source: str, horizon_s: int, last_ms: int) -> str:
    """Name a study: same inputs, source, horizon and day of data resume the same one."""
    return f"{source}-{horizon_s}s-{INPUT_SET}-{last_ms // DAY_MS}"


def tune(
    train: Samples,
    horizon_s: int,
    settings: TrainerSettings,
    progress: Callable[[int, int], None],
) -> Tuned:
    """Search on the training block alone: the last quarter of it validates, purged like any other split.

    Parameters
    ----------
    train
        The training block with all its labels; every h-th is used.
    progress
        Called with trials done and wanted.
    """
    if settings.tune_trials == 0 or settings.tune_budget_s == 0:
        return Tuned(DEFAULTS, 0, None)
    inner = split(train, horizon_s, 0.75, 0.0)
    fitted, valid = every_hth(inner.train, horizon_s), every_hth(inner.test, horizon_s)
    fitted = fitted.take(np.argsort(fitted.open_ms, kind="stable")[-_MAX_ROWS:])
    if min(len(fitted), len(valid)) < 50:  # noqa: PLR2004  # nothing to tell parameters apart by
        return Tuned(DEFAULTS, 0, None)
    deadline = time.monotonic() + settings.tune_budget_s
    study = _open_study(study_name(settings.source, horizon_s, int(train.open_ms.max())), settings)

    def objective(trial: Any) -> float:
        step = _pruning(trial, deadline)
        result = fit(
            fitted,
            _suggest(trial),
            threads=settings.train_threads,
            seed=settings.train_seed,
            valid=valid,
            step=step,
        )
        if step.pruned:
            raise _optuna().TrialPruned
        trial.set_user_attr("trees", max(1, result.trees))
        return float(result.valid_loss or np.inf)

    def report(study: Any, trial: Any) -> None:
        _log.debug("%s trial %d: %s", study.study_name, trial.number, trial.value)
        progress(len(study.trials), settings.tune_trials)

    left = settings.tune_trials - sum(trial.state.is_finished() for trial in study.trials)
    if left > 0:
        budget_s = max(0.1, deadline - time.monotonic())
        study.optimize(objective, n_trials=left, timeout=budget_s, callbacks=[report])
    return _best(study)


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415  # the trainer only
    except ImportError as error:
        raise MissingToolError(f"tuning needs Optuna ({error}): run `uv sync --extra ml`") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _storage(folder: Path) -> Any:
    optuna = _optuna()
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its journal experimental
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / _JOURNAL)))


def _open_study(name: str, settings: TrainerSettings) -> Any:
    optuna = _optuna()
    storage = _storage(settings.home / "optuna")
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=50),
    )
    # The same seed on resume would suggest the same first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=settings.train_seed + len(study.trials), n_startup_trials=5)
    if not study.trials:
        study.enqueue_trial(_as_trial(DEFAULTS))
        _enqueue_best_of_last_day(study, storage)
    return study


def _as_trial(params: Params) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(params)
    del values["iterations"]
    return values


def _enqueue_best_of_last_day(study: Any, storage: Any) -> None:
    """Let a new study try what was best in the newest older one."""
    optuna = _optuna()
    family, _, today = study.study_name.rpartition("-")
    names = [name.rpartition("-") for name in optuna.get_all_study_names(storage)]
    days = [int(day) for name, _, day in names if name == family and int(day) < int(today)]
    if days:
        best = _best(optuna.load_study(study_name=f"{family}-{max(days)}", storage=storage))
        study.enqueue_trial(_as_trial(best.params), skip_if_exists=True)


def _suggest(trial: Any) -> Params:
    return Params(
        iterations=_MAX_ITERATIONS,
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        depth=trial.suggest_int("depth", 3, 6),
        l2_leaf_reg=trial.suggest_float("l2_leaf_reg", 1.0, 100.0, log=True),
        random_strength=trial.suggest_float("random_strength", 0.1, 10.0, log=True),
        rsm=trial.suggest_float("rsm", 0.3, 1.0),
    )


class _pruning:  # noqa: N801  # used as a function that remembers one flag
    """Report now and then; stop where the trial is hopeless or the time is up."""

    def __init__(self, trial: Any, deadline: float) -> None:
        self._trial, self._deadline = trial, deadline
        self.pruned = False

    def __call__(self, iteration: int, loss: float | None) -> bool:
        if time.monotonic() > self._deadline:
            self.pruned = True  # a trial cut short would look like one that wants few trees
            return False
        if loss is not None and iteration % _REPORT_EVERY == 0:
            self._trial.report(loss, iteration)
            self.pruned = bool(self._trial.should_prune())
        return not self.pruned


def _best(study: Any) -> Tuned:
    """Take the best complete trial with the number of trees at which it was best."""
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE" and np.isfinite(trial.value)]
    if not complete:
        return Tuned(DEFAULTS, len(trials), None)
    best = min(complete, key=lambda trial: trial.value)
    params = msgspec.convert({**best.params, "iterations": best.user_attrs["trees"]}, Params)
    return Tuned(params, len(trials), best.value)
