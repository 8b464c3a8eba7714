"""Has a model in service got worse? Change detectors on scored forecasts, one row of O(1) state a pair and horizon.

Both are one-sided CUSUMs (Page 1954, "Continuous inspection schemes"): S = max(0, S + x - slack), an alarm where S
reaches its bound. Page-Hinkley compares with the running mean of the same series: a model that is bad from its first
hour becomes its own norm, and a slow decline takes the mean along. Here the norm is known, so it is not estimated:

- `error-drift`: x is the pinball loss less the baseline's, in units of the forecast's volatility, divided by its own
  running scale and clipped. A model that is no better than the baseline has a mean of 0.
- `coverage`: x is whether the outcome was outside of the 90 % interval, less 0.1. Intervals that are too wide are left
  to the loss.

A loss that is only a little larger than the baseline's stays within the slack. `skill` looks for that, slowly: the mean
of the loss difference over a week, in units of its own deviation (a running Diebold-Mariano statistic).

Forecasts of `h` minutes are made every minute and overlap: many of them tell of the same move. An outcome therefore
counts 2 / (h + 1), with which the long-run variance of the sum is about that of outcomes that do not overlap, and the
same bounds serve every horizon. What is said carries the time of the outcome, never a clock's: a replay says the same.
See docs/adr/0020-drift.md for rates of false alarms and delays.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from ml.detectors import LEAST_SHARE, Cusum, Skill, weight
from tables.records import MINUTE_MS, Alert, TrainRequest

if TYPE_CHECKING:
    from ml.settings import DriftSettings
    from tables.records import Forecast, ForecastError

__all__ = ["DRIFT", "EXPIRED", "Told", "Watch"]

DRIFT: Final = "drift"
"""Reason of a forecast whose model has a standing alarm, see `ml.trust`."""
EXPIRED: Final = "model-expired"
"""Reason of a forecast whose model is too old, and the name of its alert."""
_MISS: Final = 0.1
"""Share of outcomes that a 90 % interval leaves out."""
_LEARN: Final = 120
"""Outcomes from which only the scale is learned (count)."""
_SCALE_WINDOW: Final = 1_440
"""Outcomes after which one has a weight of 1/e in the scale (count)."""
_CLIP: Final = 4.0
"""Largest scaled loss difference of one outcome: a single crash is no drift."""
_TRUST_WINDOW: Final = 60
"""Forecasts after which one has a weight of 1/e in the trusted share (count)."""


class Told(msgspec.Struct):
    """What the detectors have to say."""

    alerts: list[Alert] = []
    requests: list[TrainRequest] = []


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
    skill: Skill = msgspec.field(default_factory=Skill)
    expired: bool = False
    """The newest forecast was by a model that is too old."""

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
            "drift_skill_alarm": self.skill.standing,
            "expired": self.expired,
            "trusted_share": self.trust.share,
        }

    def outcome(self, error: ForecastError, sigma_bps: float, rules: DriftSettings, told: Told) -> None:
        """Take the first real outcome of a forecast of `sigma_bps`; older ones than the newest change nothing."""
        if error.target_ms <= self.newest_ms:
            return
        self._follow(error, told)
        self.newest_ms = error.target_ms
        self.scored += 1
        counts = weight(error.horizon_s)
        missed = float(not error.inside90)
        before = self._standing()
        excess = (missed - _MISS - rules.drift_miss_slack) * counts
        if self.misses.take(excess, rules.drift_miss_bound, error.target_ms, missed, _MISS):
            self._say(error, "coverage", self.misses, rules.drift_miss_bound, told)
        if sigma_bps > 0:
            loss, baseline = error.pinball_bps / sigma_bps, error.baseline_pinball_bps / sigma_bps
            scaled = self._scaled(loss - baseline, baseline)
            excess = (scaled - rules.drift_loss_slack) * counts if self.scored > _LEARN else 0.0
            if self.loss.take(excess, rules.drift_loss_bound, error.target_ms, loss, baseline):
                self._say(error, "error-drift", self.loss, rules.drift_loss_bound, told)
            self.skill.take(loss - baseline, baseline, self.scored)
            self._judge_skill(error, rules, told)
        standing = self._standing()
        raised = [reason for reason in standing if reason not in before]
        if standing:
            detail = (
                told.alerts[-1].text if raised else f"{_subject(error)}: the alarm has stood since the last request"
            )
            self._ask((raised or standing)[0], error, error.target_ms, detail, rules, told, again=not raised)

    def _standing(self) -> list[str]:
        """Give the reasons to train that stand, by what a request says."""
        alarms = {"coverage": self.misses.standing, "drift": self.loss.standing, "skill": self.skill.standing}
        return [reason for reason, stands in alarms.items() if stands]

    def _judge_skill(self, error: ForecastError, rules: DriftSettings, told: Told) -> None:
        """Raise where the model has lost to the baseline beyond chance; over as soon as it has not lost at all."""
        skill, bound = self.skill, rules.drift_skill_bound
        statistic = skill.statistic(self.scored, error.horizon_s)
        standing = statistic > 0.0 if skill.standing else statistic >= bound
        if standing == skill.standing:
            return
        skill.standing = standing
        lost = skill.difference / skill.baseline if skill.baseline > 0 else 0.0
        text = (
            f"{'' if standing else 'over: '}{_subject(error)} lost {abs(lost):.2%} {'more' if lost > 0 else 'less'} "
            f"than the baseline in the mean of a week ({statistic:.1f} standard errors)"
        )
        told.alerts.append(
            Alert(error.pair, "skill", error.horizon_s, standing, statistic, bound, text, error.target_ms)
        )

    def _scaled(self, difference: float, baseline: float) -> float:
        """Divide by the scale of the outcomes before, then learn from this one."""
        scale = max(self.square**0.5, LEAST_SHARE * self.baseline)
        step = 1.0 / min(self.scored, _SCALE_WINDOW)
        self.square += step * (difference * difference - self.square)
        self.baseline += step * (baseline - self.baseline)
        return min(_CLIP, max(-_CLIP, difference / scale)) if scale > 0 else 0.0

    def _follow(self, error: ForecastError, told: Told) -> None:
        """Begin anew with another version of the model; the alarms of the one before are over."""
        if (self.model, self.model_version) == (error.model, error.model_version):
            return
        text = f"{_subject(error)} serves now: what was said of {self.model} v{self.model_version} is over"
        for name, one in (("coverage", self.misses), ("error-drift", self.loss)):
            if one.standing:
                one.standing = False
                told.alerts.append(_alert(error, name, one, 0.0, text))
        if self.skill.standing:
            told.alerts.append(Alert(error.pair, "skill", error.horizon_s, False, 0.0, 0.0, text, error.target_ms))
        self.model, self.model_version = error.model, error.model_version
        self.scored, self.square, self.baseline = 0, 0.0, 0.0
        self.loss, self.misses, self.skill = Cusum(), Cusum(), Skill()

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

    def _ask(
        self,
        reason: str,
        of: Forecast | ForecastError,
        at_ms: int,
        detail: str,
        rules: DriftSettings,
        told: Told,
        *,
        again: bool,
    ) -> None:
        """Ask for a training, unless one was asked for a short time ago; `again` for an alarm that has stood before."""
        least_s = rules.drift_ask_again_s if again else rules.drift_cool_down_s
        if at_ms - self.asked_ms < least_s * 1_000:
            return
        self.asked_ms = at_ms
        told.requests.append(TrainRequest(of.horizon_s, reason, detail, of.pair, at_ms))

    def _judge_age(self, one: Forecast, rules: DriftSettings, told: Told) -> None:
        """Tell of a model that got too old, and ask for another until there is one."""
        at_ms = one.feature_open_ms + MINUTE_MS
        was, self.expired = self.expired, EXPIRED in one.reasons
        subject = f"{_subject(one)} is too old to be trusted: its newest data left TICKCAST_MODEL_EXPIRES_DAYS"
        if self.expired != was:
            text = subject if self.expired else f"over: {_subject(one)} serves now"
            told.alerts.append(
                Alert(one.pair, EXPIRED, one.horizon_s, self.expired, float(self.expired), 1.0, text, at_ms)
            )
        if self.expired:
            self._ask("expiry", one, at_ms, subject, rules, told, again=was)

    def forecast(self, one: Forecast, rules: DriftSettings, told: Told) -> None:
        """Take a forecast for the trusted share; an older one than the newest changes nothing."""
        trust = self.trust
        if one.feature_open_ms <= trust.newest_ms:
            return
        trust.newest_ms = one.feature_open_ms
        self._judge_age(one, rules, told)
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


def _subject(of: Forecast | ForecastError) -> str:
    return f"{of.model} v{of.model_version} for {of.pair} at {of.horizon_s} s"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%dT%H:%MZ}"
