"""Forecasts of one pair joined with what happened: the fold behind the scorer.

A forecast and the 1m candle that ends at its target meet in either order; the first forecast of a horizon and candle
counts. The baseline is scored on the same row: normal quantiles times the forecast's own volatility, moved by the same
rolling rule as the model (`ml.rolling`), so that skill is never won by a badly calibrated opponent.

What is kept is bounded: a row leaves once both topics have passed its target by `keep_ms`, the time in which candles
may still be corrected, and at the latest when `MOST_KEPT` newer ones are there. What comes later than that is counted
in `too_old` and changes nothing, which is why a replay of everything changes nothing. See docs/adr/0019-scoring.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ml.baseline import GAUSSIAN
from ml.drift import Told, Watch
from ml.model import LEVELS
from ml.rolling import Rolling, below, learn
from tables.records import MINUTE_MS, ForecastError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ml.settings import DriftSettings
    from tables.records import Candle, Forecast

__all__ = ["MOST_KEPT", "PairScores", "Score", "baseline_quantiles", "pinball_bps", "scores_key"]

MOST_KEPT: Final = 2_000
"""Outcomes, and forecasts of a horizon, that are kept while the other topic is behind (count)."""
_WINDOW: Final = 720
"""Outcomes after which one has a weight of 1/e in the rolling scores (count)."""
_FORMAT: Final = b"\x01"
_BPS: Final = 1e4


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What a forecast is held against: a closed 1m candle."""

    close: float
    revision: int
    synthetic: bool


class Kept(msgspec.Struct, array_like=True):
    """A forecast that waits for its outcome, or for a correction of it."""

    feature_open_ms: int
    model: str
    model_version: str
    trusted: bool
    source: str
    base_price: float
    prices: tuple[float, float, float, float, float]
    sigma_bps: float
    offsets: tuple[float, float, float, float, float] | None = None
    """Of the baseline when the outcome was first there; a correction is scored with the same ones."""
    learned: bool = False
    """Whether a real outcome has gone into scores and offsets: it does so once."""


class Score(msgspec.Struct, array_like=True):
    """How one model does on one pair and horizon: sums in which an older outcome weighs less."""

    model: str
    model_version: str
    scored: int = 0
    """Real outcomes since the model began (count)."""
    weight: float = 0.0
    pinball_bps: float = 0.0
    baseline_bps: float = 0.0
    inside50: float = 0.0
    inside90: float = 0.0

    def take(self, error: ForecastError) -> None:
        """Count one outcome."""
        kept = 1.0 - 1.0 / _WINDOW
        self.scored += 1
        self.weight = self.weight * kept + 1.0
        self.pinball_bps = self.pinball_bps * kept + error.pinball_bps
        self.baseline_bps = self.baseline_bps * kept + error.baseline_pinball_bps
        self.inside50 = self.inside50 * kept + error.inside50
        self.inside90 = self.inside90 * kept + error.inside90

    def figures(self) -> dict[str, float | int | str | None]:
        """Give skill (share), mean pinball losses (bps) and coverages (share); None before the first outcome."""
        weight = self.weight
        return {
            "model": self.model,
            "model_version": self.model_version,
            "scored": self.scored,
            "skill": 1.0 - self.pinball_bps / self.baseline_bps if self.baseline_bps > 0 else None,
            "pinball_bps": self.pinball_bps / weight if weight else None,
            "coverage50": self.inside50 / weight if weight else None,
            "coverage90": self.inside90 / weight if weight else None,
        }


class State(msgspec.Struct, array_like=True):
    """The row of a pair."""

    candle_ms: int = 0
    """Newest close time of a 1m candle."""
    forecast_ms: int = 0
    """Newest close time that was forecast from."""
    floor_ms: int = 0
    """Targets up to here have left because there were too many (ms)."""
    outcomes: dict[int, Outcome] = {}
    """By close time (ms)."""
    kept: dict[int, dict[int, Kept]] = {}
    """By horizon (s) and target (ms)."""
    baseline: dict[int, Rolling] = {}
    """By horizon (s)."""
    scores: dict[int, Score] = {}
    """By horizon (s)."""
    drift: dict[int, Watch] = {}
    """By horizon (s)."""


_decoder: Final = msgspec.msgpack.Decoder(State)
_encoder: Final = msgspec.msgpack.Encoder()


def scores_key(pair: str) -> bytes:
    """Key of a pair's row."""
    return pair.encode()


class PairScores:
    """The fold of one pair. A row of another format is not read: scores then start anew."""

    def __init__(self, pair: str, keep_ms: int, load: Callable[[bytes], Any], rules: DriftSettings) -> None:
        self.pair = pair
        self._keep_ms = keep_ms
        self._rules = rules
        row = load(scores_key(pair))
        self.state = _decoder.decode(row[1:]) if row is not None and row[:1] == _FORMAT else State()
        self.too_old = 0
        """Records that came after their row had left the state (count)."""
        self._told = Told()

    def told(self) -> Told:
        """Give the alerts and requests since the last time it was asked."""
        told, self._told = self._told, Told()
        return told

    def figures(self) -> dict[int, dict[str, float | int | str | None]]:
        """Give scores and drift by horizon (s), for the status of the worker."""
        return {
            horizon_s: {**score.figures(), **self._watch(horizon_s).figures()}
            for horizon_s, score in self.state.scores.items()
        }

    def pack(self) -> bytes:
        """Give the row of the table."""
        return _FORMAT + _encoder.encode(self.state)

    def forecast(self, one: Forecast, now_ms: int) -> list[ForecastError]:
        """Take a forecast; give its error where the outcome is known."""
        state = self.state
        waiting = state.kept.setdefault(one.horizon_s, {})
        if one.target_ms in waiting:
            return []
        if self._is_past(one.target_ms):
            self.too_old += 1
            return []
        kept = waiting[one.target_ms] = Kept(
            feature_open_ms=one.feature_open_ms,
            model=one.model,
            model_version=one.model_version,
            trusted=one.trusted,
            source=one.source,
            base_price=one.base_price,
            prices=(one.q05, one.q25, one.q50, one.q75, one.q95),
            sigma_bps=one.sigma_bps,
        )
        state.forecast_ms = max(state.forecast_ms, one.feature_open_ms + MINUTE_MS)
        self._watch(one.horizon_s).forecast(one, self._rules, self._told)
        outcome = state.outcomes.get(one.target_ms)
        errors = [] if outcome is None else [self._score(one.horizon_s, one.target_ms, kept, outcome, now_ms)]
        self._forget()
        return errors

    def candle(self, one: Candle, now_ms: int) -> list[ForecastError]:
        """Take a closed 1m candle; give the errors of all forecasts of its close, again where it is a correction."""
        state, target_ms = self.state, one.open_ms + MINUTE_MS
        known = state.outcomes.get(target_ms)
        if known is not None and known.revision >= one.revision:
            return []
        if self._is_past(target_ms):
            self.too_old += 1
            return []
        outcome = state.outcomes[target_ms] = Outcome(one.close, one.revision, one.synthetic)
        state.candle_ms = max(state.candle_ms, target_ms)
        errors = [
            self._score(horizon_s, target_ms, waiting[target_ms], outcome, now_ms)
            for horizon_s, waiting in sorted(state.kept.items())
            if target_ms in waiting
        ]
        self._forget()
        return errors

    def _is_past(self, target_ms: int) -> bool:
        state = self.state
        return target_ms <= state.floor_ms or target_ms < min(state.candle_ms, state.forecast_ms) - self._keep_ms

    def _forget(self) -> None:
        every: list[dict[int, Any]] = [self.state.outcomes, *self.state.kept.values()]
        for rows in every:
            if len(rows) > MOST_KEPT:
                # What left this way must not come in again by a replay.
                self.state.floor_ms = max(self.state.floor_ms, min(rows))
        for rows in every:
            # Almost always in order of time, so that the first is the oldest; one out of order leaves a little later.
            while rows and self._is_past(oldest := next(iter(rows))):
                del rows[oldest]

    def _score(self, horizon_s: int, target_ms: int, kept: Kept, outcome: Outcome, now_ms: int) -> ForecastError:
        rolling = self.state.baseline.get(horizon_s, Rolling())
        if kept.offsets is None:
            kept.offsets = rolling.offsets
        baseline = baseline_quantiles(kept.sigma_bps, kept.offsets)
        actual_bps = _log_bps(outcome.close, kept.base_price)
        error = ForecastError(
            pair=self.pair,
            horizon_s=horizon_s,
            feature_open_ms=kept.feature_open_ms,
            target_ms=target_ms,
            model=kept.model,
            model_version=kept.model_version,
            trusted=kept.trusted,
            source=kept.source,
            base_price=kept.base_price,
            outcome_price=outcome.close,
            outcome_revision=outcome.revision,
            synthetic=outcome.synthetic,
            return_bps=actual_bps,
            error_bps=_log_bps(outcome.close, kept.prices[2]),
            pinball_bps=pinball_bps(actual_bps, [_log_bps(price, kept.base_price) for price in kept.prices]),
            baseline_pinball_bps=pinball_bps(actual_bps, baseline),
            below=below(outcome.close, kept.prices),  # type: ignore[arg-type]  # as many as there are prices
            scored_at_ms=now_ms,
        )
        if not kept.learned and not outcome.synthetic:
            kept.learned = True
            self.state.baseline[horizon_s] = learn(rolling, below(actual_bps, baseline))
            self._score_of(horizon_s, kept).take(error)
            self._watch(horizon_s).outcome(error, kept.sigma_bps, self._rules, self._told)
        if self._watch(horizon_s).is_drifting(kept.model, kept.model_version):
            return msgspec.structs.replace(error, drifting=True)
        return error

    def _watch(self, horizon_s: int) -> Watch:
        return self.state.drift.setdefault(horizon_s, Watch())

    def _score_of(self, horizon_s: int, kept: Kept) -> Score:
        score = self.state.scores.get(horizon_s)
        if score is None or (score.model, score.model_version) != (kept.model, kept.model_version):
            score = self.state.scores[horizon_s] = Score(kept.model, kept.model_version)
        return score


def baseline_quantiles(sigma_bps: float, offsets: Sequence[float]) -> list[float]:
    """Give the baseline's log-return quantiles (bps), sorted."""
    return sorted(sigma_bps * (level + offset) for level, offset in zip(GAUSSIAN, offsets, strict=True))


def pinball_bps(actual_bps: float, quantiles_bps: Sequence[float]) -> float:
    """Give the mean pinball loss over `LEVELS` (Koenker and Bassett 1978), in the unit of its arguments."""
    return sum(
        max(level * (actual_bps - quantile), (level - 1.0) * (actual_bps - quantile))
        for level, quantile in zip(LEVELS, quantiles_bps, strict=True)
    ) / len(LEVELS)


def _log_bps(price: float, base: float) -> float:
    return math.log(price / base) * _BPS
