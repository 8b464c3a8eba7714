"""Backtest: recorded candles through the live code with a clock of their own, and models trained as time goes by.

One pass, in the order of time. Each candle goes through the feature fold, the predictor's `forecast`, the scorer's fold
and the predictor's corrections, as in a worker; at the start of each fold models are trained on what has gone through
until then. What comes later has not been read yet, so that nothing can look ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from agents.predictor import forecast
from ml import dataset
from ml.baseline import BaselineModel
from ml.candle_file import SOURCE, History, candle_of
from ml.catboost_model import DEFAULTS, Params, fit_model
from ml.corrections import PairCorrections
from ml.leaderboard import FoldSpan
from ml.model import ForecastModel, Origin
from ml.scoring import PairScores
from ml.settings import DriftSettings
from ml.walkforward import Plan, Progress, Tested, blocks_before, check_sizes, fold_edges
from ml.zoo.naive import BASELINE
from ml.zoo.trees import SERVED
from redpanda.errors import BadInputError
from tables.candles import CandleRules
from tables.features import FEATURE_NAMES
from tables.features.fold import PairFeatures, refusal
from tables.records import MINUTE_MS, Candle, Features, Forecast, ForecastError

__all__ = ["Backtest", "Outcome", "candles_of"]

_TELL_EVERY: Final = 5_000  # candles


class Outcome(NamedTuple):
    """What one horizon came to."""

    tested: Tested
    """Rows with a label of all folds, under the served model and the baseline that was fitted with it."""
    forecasts: int
    """Made in all folds, also of silent minutes and without an outcome (count)."""
    live_skill: float
    """As the scorer tells it: over a baseline whose intervals roll like the model's (share)."""


@dataclass
class _Folds:
    """The state that a worker keeps of one pair, in memory."""

    features: PairFeatures
    scores: PairScores
    corrections: PairCorrections


@dataclass
class _Fold:
    """Who serves a horizon in one fold."""

    model: ForecastModel
    baseline: ForecastModel
    span: FoldSpan


@dataclass
class _Made:
    """What a horizon's forecasts were, by number of the candle in the stream."""

    quantiles: npt.NDArray[np.float64]
    """Log returns [n, 5]; NaN where none was made."""
    folds: list[_Fold] = field(default_factory=list)
    count: int = 0
    loss_bps: float = 0.0
    baseline_bps: float = 0.0

    def take(self, at: int, one: Forecast) -> None:
        self.quantiles[at] = np.log(np.array((one.q05, one.q25, one.q50, one.q75, one.q95)) / one.base_price)
        self.count += 1

    def score(self, error: ForecastError) -> None:
        if not error.synthetic:
            self.loss_bps += error.pinball_bps
            self.baseline_bps += error.baseline_pinball_bps


def candles_of(histories: Sequence[History]) -> Iterator[Candle]:
    """Give the candles of all pairs in the order in which they close."""
    names = sorted(range(len(histories)), key=lambda at: histories[at].pair)
    pair = np.repeat(names, [len(histories[at].columns["open_ms"]) for at in names])
    row = np.concatenate([np.arange(len(histories[at].columns["open_ms"])) for at in names])
    open_ms = np.concatenate([histories[at].columns["open_ms"] for at in names])
    for at in np.argsort(open_ms, kind="stable").tolist():
        history = histories[pair[at]]
        yield candle_of(history.pair, history.columns, int(row[at]))


class Backtest:
    """One run over recorded candles."""

    def __init__(
        self,
        histories: Sequence[History],
        horizons_s: Sequence[int],
        plan: Plan,
        progress: Progress,
        params: Params = DEFAULTS,
    ) -> None:
        self._histories = histories
        self._plan, self._params, self._tell = plan, params, progress
        self.rows = sum(len(one.columns["open_ms"]) for one in histories)
        """Candles, the filled ones included (count)."""
        self.span_ms = (
            min(int(one.columns["open_ms"][0]) for one in histories),
            max(int(one.columns["open_ms"][-1]) for one in histories),
        )
        self._edges = fold_edges(*self.span_ms, plan).tolist()
        rules = CandleRules()
        revisable_ms = rules.retention_ms + rules.lateness_ms
        nothing: dict[bytes, bytes] = {}
        drift = DriftSettings()
        self._folds = {
            one.pair: _Folds(
                PairFeatures(one.pair, "1m", revisable_ms, nothing.get),
                PairScores(one.pair, revisable_ms, nothing.get, drift),
                PairCorrections(one.pair, nothing.get),
            )
            for one in histories
        }
        self._made = {horizon_s: _Made(np.full((self.rows, 5), np.nan)) for horizon_s in horizons_s}
        self._seen = _Seen(self.rows)

    def run(self) -> dict[int, Outcome]:
        """Go through all candles; gives what each horizon (s) came to.

        Raises
        ------
        BadInputError
            Too few candles for a fold, or one that no worker would take.
        """
        fold = -1
        for at, candle in enumerate(candles_of(self._histories)):
            if reason := refusal(candle):
                raise BadInputError(f"{candle.pair} at {candle.open_ms} ms: {reason}")
            while fold + 1 < self._plan.folds and candle.open_ms >= self._edges[fold + 1]:
                fold += 1
                self._train(fold)
            folds = self._folds[candle.pair]
            (row,) = folds.features.apply(candle)
            self._seen.take(at, row)
            if fold >= 0:
                self._serve(at, row, candle, folds)
            if at % _TELL_EVERY == 0:
                self._tell("candles", at, self.rows)
        self._tell("candles", self.rows, self.rows)
        return {horizon_s: self._outcome(horizon_s, made) for horizon_s, made in self._made.items()}

    def table(self) -> dataset.Table:
        """Give what has gone through, as the trainer would read it from the store."""
        return dataset.prepare(self._seen.columns())

    def _train(self, fold: int) -> None:
        table, from_ms, to_ms = self.table(), self._edges[fold], self._edges[fold + 1]
        for horizon_s, made in self._made.items():
            label = f"training {horizon_s // 60} min, fold {fold + 1} of {self._plan.folds}"
            rows = dataset.samples(table, horizon_s)
            train_from_ms, train, calibration = blocks_before(rows, horizon_s, self.span_ms[0], from_ms, self._plan)
            check_sizes(fold, self._plan, train=len(train), calibration=len(calibration))
            origin = Origin(horizon_s, version=str(fold + 1), alias="champion", source=SOURCE)
            self._tell(label, 0, self._params.iterations)
            model, _ = fit_model(
                train,
                calibration,
                self._params,
                origin,
                threads=self._plan.threads,
                seed=self._plan.seed,
                step=lambda done, _, label=label: self._step(label, done),  # type: ignore[misc]  # bound by default
            )
            self._tell(label, 0, 0)
            baseline = BaselineModel.fit(origin, np.concatenate([train.y, calibration.y]))
            span = FoldSpan(train_from_ms, len(train), len(calibration), from_ms, to_ms, 0)
            made.folds.append(_Fold(model, baseline, span))

    def _step(self, label: str, done: int) -> bool:
        self._tell(label, done, self._params.iterations)
        return True

    def _serve(self, at: int, row: Features, candle: Candle, folds: _Folds) -> None:
        """Do what predictor and scorer do with one closed candle; its forecasts come before what it teaches."""
        now_ms = row.open_ms + MINUTE_MS
        errors: list[ForecastError] = []
        for made in self._made.values():
            model = made.folds[-1].model
            one = forecast(row, model, now_ms, folds.corrections.of(model))
            if one is not None:
                made.take(at, one)
                errors += folds.scores.forecast(one, now_ms)
        for error in errors + folds.scores.candle(candle, now_ms):
            folds.corrections.take(error)
            self._made[error.horizon_s].score(error)

    def _outcome(self, horizon_s: int, made: _Made) -> Outcome:
        table = self.table()
        rows = dataset.samples(table, horizon_s)
        fold: npt.NDArray[Any] = np.searchsorted(self._edges, rows.open_ms, side="right") - 1
        tested = np.flatnonzero((fold >= 0) & (fold < self._plan.folds))
        # In the order of `ml.walkforward.run`, so that other models can be put beside it.
        tested = tested[np.argsort(fold[tested], kind="stable")]
        rows, fold = rows.take(tested), np.asarray(fold[tested], dtype=np.int32)
        model = made.quantiles[self._seen.place(table.pairs, rows.pair, rows.open_ms)]
        if np.isnan(model).any():
            raise RuntimeError(f"{int(np.isnan(model[:, 0]).sum())} rows with a label have no forecast")
        baseline = np.concatenate(
            [one.baseline.returns(rows.x[fold == at], rows.sigma[fold == at]) for at, one in enumerate(made.folds)]
        )
        sizes = np.bincount(fold, minlength=self._plan.folds).tolist()
        spans = [msgspec.structs.replace(one.span, test_rows=size) for one, size in zip(made.folds, sizes, strict=True)]
        skill = 1.0 - made.loss_bps / made.baseline_bps if made.baseline_bps > 0 else 0.0
        return Outcome(Tested(spans, rows, fold, {BASELINE.name: baseline, SERVED: model}, {}), made.count, skill)


class _Seen:
    """What the store would hold of the feature rows."""

    def __init__(self, rows: int) -> None:
        self._count = 0
        self._pair: list[str] = []
        self._numbers = np.empty((rows, 4))
        self._open_ms = np.empty(rows, dtype=np.int64)
        self._bars = np.empty(rows, dtype=np.int64)
        self._synthetic = np.empty(rows, dtype=bool)
        self._values = np.empty((rows, len(FEATURE_NAMES)))

    def take(self, at: int, row: Features) -> None:
        """Keep one row; what is not warm becomes NaN."""
        self._count = at + 1
        self._pair.append(row.pair)
        self._numbers[at] = row.open, row.high, row.low, row.close
        self._open_ms[at], self._bars[at], self._synthetic[at] = row.open_ms, row.bars, row.synthetic
        self._values[at] = np.array(list(row.values.values()), dtype=np.float64)

    def columns(self) -> dict[str, Any]:
        """Give the columns that `ml.dataset.prepare` takes."""
        end = self._count
        return {
            "pair": np.array(self._pair),
            "open_ms": self._open_ms[:end],
            "bars": self._bars[:end],
            "synthetic": self._synthetic[:end],
            **{name: self._numbers[:end, at] for at, name in enumerate(("open", "high", "low", "close"))},
            **{name: self._values[:end, at] for at, name in enumerate(FEATURE_NAMES)},
        }

    def place(
        self, pairs: Sequence[str], pair: npt.NDArray[np.int32], open_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.intp]:
        """Give the numbers in the stream of rows by pair (an index of `pairs`) and time."""
        code = {name: at for at, name in enumerate(pairs)}
        width = int(self._open_ms[: self._count].max()) + 1
        key = np.array([code[name] for name in self._pair]) * width + self._open_ms[: self._count]
        order = np.argsort(key)
        return np.asarray(order[np.searchsorted(key[order], pair.astype(np.int64) * width + open_ms)])
