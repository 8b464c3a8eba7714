"""Has a model in service got worse? Change detectors on scored forecasts, one row of O(1) state a pair and horizon.

Both are one-sided CUSUMs (Page 1954, "Continuous inspection schemes"): S = max(0, S + x - slack), an alarm where S
reaches its bound. Page-Hinkley compares with the running mean of the same series: a model that is bad from its first
hour becomes its own norm, and a slow decline takes the mean along. Here the norm is known, so it is not estimated:

- `error-drift`: x is the pinball loss less the baseline's, in units of the forecast's volatility, divided by its own
  running scale and clipped. A model that is no better than the baseline has a mean of 0.
- `coverage`: x is whether the outcome was outside of the 90 % interval, less 0.1. Intervals that are too wide are left
  to the loss.

Forecasts of `h` minutes are made every minute and overlap: many of them tell of the same move. An outcome therefore
counts 2 / (h + 1), with which the long-run variance of the sum is about that of outcomes that do not overlap, and the
same bounds serve every horizon. What is said carries the time of the outcome, never a clock's: a replay says the same.
See docs/adr/0020-drift.md for rates of false alarms and delays.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from tables.records import MINUTE_MS, Alert, TrainRequest

if TYPE_CHECKING:
    from ml.settings import DriftSettings
    from tables.records import Forecast, ForecastError

__all__ = ["DRIFT", "Cusum", "Told", "Watch"]

DRIFT: Final = "drift"
"""Reason of a forecast whose model has a standing alarm, see `ml.trust`."""
_MISS: Final = 0.1
"""Share of outcomes that a 90 % interval leaves out."""
_LEARN: Final = 120
"""Outcomes from which only the scale is learned (count)."""
_SCALE_WINDOW: Final = 1_440
"""Outcomes after which one has a weight of 1/e in the scale (count)."""
_CLIP: Final = 4.0
"""Largest scaled loss difference of one outcome: a single crash is no drift."""
_LEAST_SHARE: Final = 0.01
"""Least scale, as a share of the baseline's loss: the baseline as a model differs from it by next to nothing."""
_TRUST_WINDOW: Final = 60
"""Forecasts after which one has a weight of 1/e in the trusted share (count)."""


class Told(msgspec.Struct):
    """What the detectors have to say."""

    alerts: list[Alert] = []
    requests: list[TrainRequest] = []


class Cusum(msgspec.Struct, array_like=True):
    """One detector. An alarm is raised at the bound and over at 0: as much for the model as there was against it."""

    sum: float = 0.0
    standing: bool = False
    since_ms: int = 0
    """Outcome with which the sum last left 0: about where the change was; after an alert, the next one (ms)."""
    outcomes: int = 0
    """Since then (count)."""
    seen: float = 0.0
    """Since then: sum of what was seen, in the unit of the detector's text."""
    expected: float = 0.0
    """Since then: sum of what was due."""

    def take(self, excess: float, bound: float, at_ms: int, seen: float, expected: float) -> bool:
        """Take one outcome; say whether the alarm has just changed."""
        if not self.outcomes or (self.sum <= 0.0 and not self.standing):
            self.since_ms, self.outcomes, self.seen, self.expected = at_ms, 0, 0.0, 0.0
        self.outcomes += 1
        self.seen += seen
        self.expected += expected
        # Held at the bound: what a long bad stretch adds would have to be worked off by a longer good one.
        self.sum = min(bound, max(0.0, self.sum + excess))
        if self.standing:
            self.standing = self.sum > 0.0
            return not self.standing
        self.standing = self.sum >= bound
        return self.standing


class Trust(msgspec.Struct, array_like=True):
    """How much of what is forecast is trusted, drift aside: that has an alarm of its own."""

    newest_ms: int = 0
    share: float = 0.0
    """Rolling (0..1)."""
    armed: bool = False
    """It was good once: a start in warm-up is no fall."""
    standing: bool = False


class Watch(msgspec.Struct, array_like=True):
    """What is kept of a pair and horizon."""

    model: str = ""
    model_version: str = ""
    newest_ms: int = 0
    """Newest target that was taken (ms); what comes later of an older one changes nothing."""
    scored: int = 0
    square: float = 0.0
    """Rolling mean square of the loss difference, in units of the forecast's volatility."""
    baseline: float = 0.0
    """Rolling mean of the baseline's loss, in the same unit."""
    loss: Cusum = msgspec.field(default_factory=Cusum)
    misses: Cusum = msgspec.field(default_factory=Cusum)
    asked_ms: int = 0
    """Time of the outcome that last asked for a training (ms): it outlives the model."""
    trust: Trust = msgspec.field(default_factory=Trust)

    def is_drifting(self, model: str, model_version: str) -> bool:
        """Say whether an alarm on this version stands."""
        return (self.loss.standing or self.misses.standing) and (self.model, self.model_version) == (
            model,
            model_version,
        )

    def figures(self) -> dict[str, float | bool]:
        """Give both sums, each with its alarm, and the trusted share, for the status of the worker."""
        return {
            "drift_loss": self.loss.sum,
            "drift_loss_alarm": self.loss.standing,
            "drift_misses": self.misses.sum,
            "drift_misses_alarm": self.misses.standing,
            "trusted_share": self.trust.share,
        }

    def outcome(self, error: ForecastError, sigma_bps: float, rules: DriftSettings, told: Told) -> None:
        """Take the first real outcome of a forecast of `sigma_bps`; older ones than the newest change nothing."""
        if error.target_ms <= self.newest_ms:
            return
        self._follow(error, told)
        self.newest_ms = error.target_ms
        self.scored += 1
        counts = _counts(error.horizon_s)
        missed = float(not error.inside90)
        if self.misses.take(
            (missed - _MISS - rules.drift_miss_slack) * counts, rules.drift_miss_bound, error.target_ms, missed, _MISS
        ):
            self._say(error, "coverage", self.misses, rules.drift_miss_bound, told)
            self._ask(error, "coverage", rules, told)
        if not sigma_bps > 0:
            return
        loss, baseline = error.pinball_bps / sigma_bps, error.baseline_pinball_bps / sigma_bps
        scaled = self._scaled(loss - baseline, baseline)
        excess = (scaled - rules.drift_loss_slack) * counts if self.scored > _LEARN else 0.0
        if self.loss.take(excess, rules.drift_loss_bound, error.target_ms, loss, baseline):
            self._say(error, "error-drift", self.loss, rules.drift_loss_bound, told)
            self._ask(error, "drift", rules, told)

    def _scaled(self, difference: float, baseline: float) -> float:
        """Divide by the scale of the outcomes before, then learn from this one."""
        scale = max(self.square**0.5, _LEAST_SHARE * self.baseline)
        step = 1.0 / min(self.scored, _SCALE_WINDOW)
        self.square += step * (difference * difference - self.square)
        self.baseline += step * (baseline - self.baseline)
        return min(_CLIP, max(-_CLIP, difference / scale)) if scale > 0 else 0.0

    def _follow(self, error: ForecastError, told: Told) -> None:
        """Begin anew with another version of the model; the alarms of the one before are over."""
        if (self.model, self.model_version) == (error.model, error.model_version):
            return
        for name, one in (("coverage", self.misses), ("error-drift", self.loss)):
            if one.standing:
                one.standing = False
                text = f"{_subject(error)} serves now: what was said of {self.model} v{self.model_version} is over"
                told.alerts.append(_alert(error, name, one, 0.0, text))
        self.model, self.model_version = error.model, error.model_version
        self.scored, self.square, self.baseline = 0, 0.0, 0.0
        self.loss, self.misses = Cusum(), Cusum()

    def _say(self, error: ForecastError, name: str, one: Cusum, bound: float, told: Told) -> None:
        seen, due = one.seen, one.expected
        if name == "coverage":
            what = f"left {seen / one.outcomes:.1%} of outcomes outside of the 90 % interval"
        else:
            more = seen / due - 1.0 if due > 0 else 0.0
            what = f"lost {abs(more):.1%} {'more' if more > 0 else 'less'} than the baseline"
        head = "" if one.standing else "over: "
        told.alerts.append(
            _alert(
                error,
                name,
                one,
                bound,
                f"{head}{_subject(error)} {what} in {one.outcomes} outcomes since {_time(one.since_ms)}",
            )
        )
        one.outcomes = 0  # what is told next begins here

    def _ask(self, error: ForecastError, reason: str, rules: DriftSettings, told: Told) -> None:
        """Ask for a training where an alarm was raised, unless one was asked for a short time ago."""
        raised = self.misses.standing if reason == "coverage" else self.loss.standing
        if not raised or error.target_ms - self.asked_ms < rules.drift_cool_down_s * 1_000:
            return
        self.asked_ms = error.target_ms
        told.requests.append(
            TrainRequest(
                horizon_s=error.horizon_s,
                reason=reason,
                detail=told.alerts[-1].text,
                pair=error.pair,
                asked_at_ms=error.target_ms,
            )
        )

    def forecast(self, one: Forecast, rules: DriftSettings, told: Told) -> None:
        """Take a forecast for the trusted share; an older one than the newest changes nothing."""
        trust = self.trust
        if one.feature_open_ms <= trust.newest_ms:
            return
        trust.newest_ms = one.feature_open_ms
        trusted = one.trusted or one.reasons == [DRIFT]
        trust.share += (trusted - trust.share) / _TRUST_WINDOW
        least = rules.drift_trusted_share
        enough = (1.0 + least) / 2.0
        was = trust.standing
        if trust.share >= enough:
            trust.armed, trust.standing = True, False
        elif trust.armed and trust.share < least:
            trust.armed, trust.standing = False, True
        if trust.standing == was:
            return
        why = f": {', '.join(one.reasons)}" if one.reasons else ""
        told.alerts.append(
            Alert(
                pair=one.pair,
                name="untrusted",
                horizon_s=one.horizon_s,
                raised=trust.standing,
                value=trust.share,
                bound=least if trust.standing else enough,
                text=f"{trust.share:.0%} of the latest {one.horizon_s} s forecasts of {one.pair} are trusted{why}",
                at_ms=one.feature_open_ms + MINUTE_MS,
            )
        )


def _alert(error: ForecastError, name: str, one: Cusum, bound: float, text: str) -> Alert:
    return Alert(
        pair=error.pair,
        name=name,
        horizon_s=error.horizon_s,
        raised=one.standing,
        value=one.sum,
        bound=bound,
        text=text,
        at_ms=error.target_ms,
    )


def _counts(horizon_s: int) -> float:
    """Give what an outcome counts: on real minutes h overlapping ones vary like (h + 1) / 2 of their own."""
    return 2.0 / (horizon_s / 60 + 1.0)


def _subject(error: ForecastError) -> str:
    return f"{error.model} v{error.model_version} for {error.pair} at {error.horizon_s} s"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%dT%H:%MZ}"
