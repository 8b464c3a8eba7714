"""Drift of scored forecasts: how often healthy models alarm, how soon bad ones do, and that nothing is said twice."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.drift import Told, Watch
from ml.scoring import PairScores, scores_key
from ml.settings import DriftSettings
from tables.records import MINUTE_MS, Alert, Candle, Forecast, TrainRequest
from tests.support.drift_series import Fault, error, first_alarms, raised, simulate
from tests.support.samples import START_MS, candle, forecast

RULES = DriftSettings()
SIGMA_BPS = 10.0
SERIES = {1: 200, 5: 60, 15: 60}
"""By horizon (minutes): none of 200 alarmed at 5 and 15, so fewer will do for a gate (count)."""
OUTCOMES = 10_000
FAST = ("error-drift", "coverage")


class Model:
    """One pair and horizon, an outcome at a time."""

    def __init__(self, rules: DriftSettings = RULES) -> None:
        self.watch, self.told, self.rules, self.at = Watch(), Told(), rules, 0
        self.random = np.random.default_rng(7)

    def live(self, outcomes: int, worse: float = 0.0, misses: float = 0.1, version: str = "1") -> None:
        """Go on with a loss that is `worse` times its scatter above the baseline's (10 % of it)."""
        for _ in range(outcomes):
            loss = 1.0 + 0.1 * (worse + self.random.normal())
            one = error(self.at, loss, missed=bool(self.random.random() < misses), version=version)
            self.watch.outcome(one, SIGMA_BPS, self.rules, self.told)
            self.at += 1

    def said(self, *names: str) -> list[tuple[str, bool]]:
        return [(name, up) for name, up in raised(self.told.alerts) if name in (names or FAST)]


@pytest.mark.proof
@pytest.mark.parametrize("minutes", [1, 5, 15])
def test_healthy_models_alarm_in_at_most_five_of_a_hundred_weeks(minutes: int) -> None:
    series = simulate(100 + minutes, SERIES[minutes], OUTCOMES, minutes)
    found = first_alarms(series, minutes, RULES)
    alarms = {name: sum(name in one for one in found) for name in (*FAST, "skill")}
    skill = 1.0 - series.loss.sum() / series.baseline.sum()
    print(f"{minutes} min: {sum(map(bool, found))} of {SERIES[minutes]} series alarm {alarms}, skill {skill:+.4f}")
    assert skill > 0, "the healthy model is no worse than the baseline"
    assert sum(map(bool, found)) <= 0.05 * SERIES[minutes]


@pytest.mark.proof
@pytest.mark.parametrize(
    ("what", "minutes", "fault", "name", "most"),
    [
        ("twice as wide", 1, Fault(1_000, width=2.0), "error-drift", 90),
        ("half as wide", 1, Fault(1_000, width=0.5), "coverage", 300),
        ("half as wide", 1, Fault(1_000, width=0.5), "error-drift", 600),
        ("median off by half a sigma", 1, Fault(1_000, bias=0.5), "error-drift", 150),
        ("twice as wide", 5, Fault(1_000, width=2.0), "error-drift", 300),
        ("half as wide", 5, Fault(1_000, width=0.5), "coverage", 900),
        ("twice as wide", 15, Fault(1_000, width=2.0), "error-drift", 1_200),
        ("half as wide", 15, Fault(1_000, width=0.5), "coverage", 2_000),
    ],
)
def test_fault_of_a_model_is_seen_within_its_bound(what: str, minutes: int, fault: Fault, name: str, most: int) -> None:
    found = first_alarms(simulate(minutes, 40, 3_500, minutes, fault), minutes, RULES, begin=fault.begins)
    delays = np.array([one.get(name, OUTCOMES) for one in found])
    median, ninth = np.quantile(delays, (0.5, 0.9)).astype(int)
    print(f"{minutes} min, {what}: {name} after {median} outcomes (median), {ninth} (9 of 10)")
    assert ninth <= most


def test_bad_stretch_is_one_alert_and_its_end_another() -> None:
    model = Model()
    model.live(600)
    assert model.said() == []
    model.live(3_000, worse=1.5)
    assert model.said() == [("error-drift", True)]
    model.live(1_000, worse=-0.2)
    assert model.said() == [("error-drift", True), ("error-drift", False)]
    (first, last) = (one for one in model.told.alerts if one.name == "error-drift")
    assert first.value == first.bound == RULES.drift_loss_bound
    assert last.text.startswith("over: trees v1")
    assert "more than the baseline" in first.text
    assert first.at_ms == model.told.requests[0].asked_at_ms, "the time of the outcome, not of a clock"


def test_misses_alone_raise_coverage_and_ask_for_a_training() -> None:
    model = Model()
    model.live(500, misses=0.3)
    assert model.said() == [("coverage", True)]
    (request,) = model.told.requests
    assert (request.reason, request.horizon_s, request.pair) == ("coverage", 60, "BTC/USD")
    assert request.detail == model.told.alerts[0].text


def test_two_alarms_within_the_cool_down_ask_once_and_a_later_one_again() -> None:
    model = Model()
    model.live(600)
    model.live(200, worse=2.0, misses=0.6)
    assert sorted(model.said()) == [("coverage", True), ("error-drift", True)]
    assert len(model.told.requests) == 1
    model.live(2_000, worse=-0.5, misses=0.0)
    model.live(200, worse=4.0)
    assert len(model.told.requests) == 2
    first, second = model.told.requests
    assert second.asked_at_ms - first.asked_at_ms >= RULES.drift_cool_down_s * 1_000


def test_another_version_ends_the_alarms_and_begins_anew() -> None:
    model = Model()
    model.live(600)
    model.live(400, worse=2.0)
    assert model.watch.is_drifting("trees", "1")
    model.live(1, version="2")
    assert model.said() == [("error-drift", True), ("error-drift", False)]
    assert "trees v2" in model.told.alerts[-1].text
    assert not model.watch.is_drifting("trees", "1")
    assert not model.watch.is_drifting("trees", "2")
    assert model.watch.scored == 1
    assert model.watch.asked_ms > 0, "the cool-down outlives the model"


def test_baseline_in_service_never_drifts_from_itself() -> None:
    model = Model()
    for at in range(5_000):
        rounding = 1e-12 * (1 + at % 3)
        model.watch.outcome(error(at, 1.0 + rounding), SIGMA_BPS, RULES, model.told)
    assert model.watch.loss.sum == 0.0
    assert model.said() == []


def test_small_loss_that_lasts_is_lost_skill_and_no_drift() -> None:
    model = Model()
    model.live(1_400, worse=0.2)
    assert model.said("skill") == [], "a day has to pass"
    model.live(100, worse=0.2)
    assert model.said("skill", *FAST) == [("skill", True)]
    (alert,), (request,) = model.told.alerts, model.told.requests
    assert alert.value >= alert.bound == RULES.drift_skill_bound
    assert "more than the baseline" in alert.text
    assert (request.reason, request.detail, request.asked_at_ms) == ("skill", alert.text, alert.at_ms)
    model.live(6_000, worse=-0.1)
    assert model.said("skill", *FAST) == [("skill", True), ("skill", False)]
    assert "less than the baseline" in model.told.alerts[-1].text
    model.live(3_000, worse=0.3, version="2")
    assert model.said("skill")[2:] == [("skill", True)], "what was learned of the version before is forgotten"


def test_alarm_that_stands_asks_again_after_its_time_until_it_is_over() -> None:
    model = Model()
    model.live(600)
    model.live(1_000, misses=0.5)
    asked = [one.asked_at_ms for one in model.told.requests]
    again_ms = round(RULES.drift_ask_again_s * 1_000)
    assert len(asked) == 3
    assert [later - sooner for sooner, later in pairwise(asked)] == [again_ms] * 2
    assert "has stood" in model.told.requests[1].detail
    model.live(1_500, misses=0.0)
    assert not model.watch.misses.standing
    over = len(model.told.requests)
    model.live(800)
    assert len(model.told.requests) == over


def test_expired_model_is_told_once_and_asks_until_another_serves() -> None:
    watch, told = trusted((100, True, []), (800, False, ["stale", "model-expired"]), (50, True, []))
    expired = [one for one in told.alerts if one.name == "model-expired"]
    assert [one.raised for one in expired] == [True, False]
    assert expired[0].at_ms == START_MS + 101 * MINUTE_MS
    assert [one.reason for one in told.requests] == ["expiry"] * 3
    again_ms = round(RULES.drift_ask_again_s * 1_000)
    assert {b.asked_at_ms - a.asked_at_ms for a, b in pairwise(told.requests)} == {again_ms}
    assert not watch.expired


def test_one_crash_is_no_drift() -> None:
    model = Model()
    model.live(600)
    for _ in range(5):
        model.watch.outcome(error(model.at, 500.0), SIGMA_BPS, RULES, model.told)
        model.at += 1
    model.live(600)
    assert model.said() == []


def test_outcome_that_is_no_newer_changes_nothing() -> None:
    model = Model()
    model.live(50)
    before = msgspec.msgpack.encode(model.watch)
    for at in (49, 10, 0):
        model.watch.outcome(error(at, 9.0, missed=True, version="9"), SIGMA_BPS, RULES, model.told)
    assert msgspec.msgpack.encode(model.watch) == before
    assert model.said() == []


def trusted(*shares: tuple[int, bool, list[str]]) -> tuple[Watch, Told]:
    watch, told, at = Watch(), Told(), 0
    for count, is_trusted, reasons in shares:
        for _ in range(count):
            watch.forecast(forecast(at, trusted=is_trusted, reasons=reasons), RULES, told)
            at += 1
    return watch, told


def test_fall_of_the_trusted_share_is_told_once_and_once_when_it_is_over() -> None:
    _, told = trusted((300, True, []), (300, False, ["stale"]), (300, True, []))
    assert raised(told.alerts) == [("untrusted", True), ("untrusted", False)]
    assert "stale" in told.alerts[0].text
    assert told.alerts[0].value < 0.5 <= told.alerts[0].bound <= 0.75 <= told.alerts[1].value
    assert told.alerts[0].at_ms == START_MS + (300 + 40) * MINUTE_MS + MINUTE_MS
    assert told.requests == []


def test_forecast_that_comes_again_does_not_move_the_trusted_share() -> None:
    watch, told = trusted((100, True, []))
    before = msgspec.msgpack.encode(watch)
    for at in (99, 50, 0):
        watch.forecast(forecast(at, trusted=False, reasons=["stale"]), RULES, told)
    assert msgspec.msgpack.encode(watch) == before


def test_warm_up_and_drift_itself_are_no_fall_of_the_trusted_share() -> None:
    watch, told = trusted((130, False, ["warm-up"]), (300, True, []), (500, False, ["drift"]))
    assert told.alerts == []
    assert watch.trust.share > 0.9


Row = Candle | Forecast


def stretch(seed: int, minutes: int, bad: tuple[int, int]) -> list[Row]:
    """Both topics, a minute at a time; within `bad` the outcomes are far outside of what was forecast."""
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for at in range(minutes):
        spread = 3.0 if bad[0] <= at < bad[1] else 0.25
        rows += [candle(at, close=float(100.0 + spread * random.normal())), forecast(at), forecast(at, horizon_s=300)]
    return rows


class Scorer:
    """The fold with a table, restarted where it is told to."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.alerts: list[Alert] = []
        self.requests: list[TrainRequest] = []
        self.drifting: list[bool] = []
        self.restart()

    def restart(self) -> None:
        self.fold = PairScores("BTC/USD", 902_000, self.table.get, RULES)

    def take(self, row: Row) -> None:
        errors = self.fold.candle(row, 7) if isinstance(row, Candle) else self.fold.forecast(row, 7)
        self.drifting += [one.drifting for one in errors if one.horizon_s == 60]
        told = self.fold.told()
        self.alerts += told.alerts
        self.requests += told.requests
        self.table[scores_key("BTC/USD")] = self.fold.pack()


@given(st.integers(0, 1 << 16), st.sets(st.integers(0, 1_500), max_size=8))
@settings(max_examples=10, deadline=None)
def test_restarts_and_a_replay_change_no_alert(seed: int, restarts: set[int]) -> None:
    rows = stretch(seed, 500, (100, 300))
    calm, restless = Scorer(), Scorer()
    for at, row in enumerate(rows):
        calm.take(row)
        if at in restarts:
            restless.restart()
        restless.take(row)
    assert ("coverage", True) in raised(calm.alerts)
    assert (restless.alerts, restless.requests, restless.table) == (calm.alerts, calm.requests, calm.table)
    said = len(calm.alerts)
    calm.restart()
    for row in rows:
        calm.take(row)
    assert (len(calm.alerts), calm.table) == (said, restless.table)


def test_order_of_the_topics_changes_no_alert() -> None:
    rows = stretch(3, 500, (100, 300))
    mixed, one_by_one = Scorer(), Scorer()
    for row in rows:
        mixed.take(row)
    for row in sorted(rows, key=lambda one: isinstance(one, Candle)):
        one_by_one.take(row)
    assert sorted(one_by_one.alerts, key=lambda one: (one.horizon_s, one.at_ms)) == sorted(
        mixed.alerts, key=lambda one: (one.horizon_s, one.at_ms)
    )


def test_row_of_before_drift_was_watched_is_read_and_watched_from_then_on() -> None:
    scorer = Scorer()
    for row in stretch(3, 20, (0, 0)):
        scorer.take(row)
    fields = msgspec.msgpack.decode(scorer.table[scores_key("BTC/USD")][1:])
    scorer.table[scores_key("BTC/USD")] = b"\x01" + msgspec.msgpack.encode(fields[:-1])
    scorer.restart()
    scorer.take(candle(20))
    figures = scorer.fold.figures()[60]
    assert (figures["scored"], figures["drift_loss_alarm"]) == (20, False)
    assert scorer.fold.state.drift[60].scored == 1


def test_errors_carry_the_alarm_from_the_outcome_that_raised_it() -> None:
    scorer = Scorer()
    for row in stretch(3, 500, (100, 300)):
        scorer.take(row)
    (raised_ms,) = {one.at_ms for one in scorer.alerts if one.raised and one.horizon_s == 60 and one.name in FAST}
    at = scorer.drifting.index(True)
    assert START_MS + (at + 2) * MINUTE_MS == raised_ms
    assert all(scorer.drifting[at : at + 50])
