"""The join of forecasts and candles: any order, duplicates, corrections and restarts end with the batch's errors."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml import scoring
from ml.baseline import GAUSSIAN
from ml.model import LEVELS
from ml.rolling import START, learn
from ml.scoring import PairScores, baseline_quantiles, pinball_bps, scores_key
from ml.settings import DriftSettings
from tables.records import MINUTE_MS, Candle, Forecast, ForecastError
from tests.support.samples import START_MS, candle, forecast

PAIR = "BTC/USD"
KEEP_MS = 902_000
HOUR_MS = 60 * MINUTE_MS
Input = Candle | Forecast
Key = tuple[int, int]


def a_candle(index: int, close: float = 100.0, revision: int = 0, *, synthetic: bool = False) -> Candle:
    return candle(index, close=close, revision=revision, synthetic=synthetic)


class Scorer:
    """The fold as the stage runs it, and the newest error of each horizon and candle."""

    def __init__(self, keep_ms: int = KEEP_MS) -> None:
        self.table: dict[bytes, bytes] = {}
        self.keep_ms = keep_ms
        self.said: list[ForecastError] = []
        self.restart()

    def restart(self) -> None:
        self.fold = PairScores(PAIR, self.keep_ms, self.table.get, DriftSettings())

    def take(self, one: Input) -> list[ForecastError]:
        errors = self.fold.candle(one, 7) if isinstance(one, Candle) else self.fold.forecast(one, 7)
        self.table[scores_key(PAIR)] = self.fold.pack()
        self.said += errors
        return errors

    def final(self) -> dict[Key, ForecastError]:
        newest: dict[Key, ForecastError] = {}
        for one in self.said:
            key = (one.horizon_s, one.feature_open_ms)
            if key not in newest or newest[key].outcome_revision < one.outcome_revision:
                newest[key] = one
        return newest


def batch(inputs: list[Input]) -> dict[Key, tuple[float, int, bool, float, float, tuple[bool, ...]]]:
    """Join by a dictionary, and score with formulas of its own."""
    last: dict[int, Candle] = {}
    for one in inputs:
        if isinstance(one, Candle):
            known = last.get(one.open_ms)
            last[one.open_ms] = one if known is None or one.revision > known.revision else known
    found = {}
    for one in inputs:
        if not isinstance(one, Forecast) or (end := last.get(one.target_ms - MINUTE_MS)) is None:
            continue
        y = 1e4 * math.log(end.close / one.base_price)
        losses = []
        for level, price in zip(LEVELS, (one.q05, one.q25, one.q50, one.q75, one.q95), strict=True):
            gap = y - 1e4 * math.log(price / one.base_price)
            losses.append(gap * level if gap > 0 else -gap * (1 - level))
        below = tuple(end.close < price for price in (one.q05, one.q25, one.q50, one.q75, one.q95))
        key = (one.horizon_s, one.feature_open_ms)
        found[key] = (end.close, end.revision, end.synthetic, y, sum(losses) / 5, below)
    return found


def essence(error: ForecastError) -> tuple[object, ...]:
    return (
        error.outcome_price,
        error.outcome_revision,
        error.synthetic,
        error.return_bps,
        pytest.approx(error.pinball_bps, rel=1e-12),
        error.below,
    )


closes = st.floats(98.0, 102.0)


@st.composite
def topics(draw: st.DrawFn) -> tuple[list[Input], list[Input]]:
    """Draw both topics in order of time; corrections come after their candle."""
    minutes = draw(st.integers(1, 12))
    candles: list[Input] = []
    for index in range(minutes):
        candles.append(a_candle(index, draw(closes), synthetic=draw(st.booleans())))
        if draw(st.booleans()):
            at = draw(st.integers(0, index))
            last = max(one.revision for one in candles if isinstance(one, Candle) and one.open_ms == candle(at).open_ms)
            candles.append(a_candle(at, draw(closes), last + 1))
    made: list[Input] = [forecast(index, horizon_s=h) for index in range(minutes) for h in (60, 300)]
    return candles, made


@given(topics(), st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_with_duplicates_and_restarts_ends_with_the_batch_join(
    both: tuple[list[Input], list[Input]], data: st.DataObject
) -> None:
    inputs = [*both[0], *both[1]]
    again = data.draw(st.lists(st.sampled_from(inputs), max_size=10))
    scorer = Scorer(keep_ms=HOUR_MS)
    for one in data.draw(st.permutations([*inputs, *again])):
        if data.draw(st.integers(0, 4)) == 0:
            scorer.restart()
        scorer.take(one)
    wanted = batch(inputs)
    assert {key: essence(one) for key, one in scorer.final().items()} == wanted


@given(topics(), st.data())
@settings(max_examples=100, deadline=None)
def test_any_interleaving_of_the_topics_gives_the_same_baseline_losses_and_scores(
    both: tuple[list[Input], list[Input]], data: st.DataObject
) -> None:
    one_after_the_other, mixed = Scorer(HOUR_MS), Scorer(HOUR_MS)
    candles, made = [one for one in both[0] if not isinstance(one, Candle) or not one.revision], both[1]
    for one in [*candles, *made]:
        one_after_the_other.take(one)
    left = [list(candles), list(made)]
    while any(left):
        some = left[data.draw(st.sampled_from([at for at in (0, 1) if left[at]]))]
        mixed.take(some.pop(0))
        if data.draw(st.booleans()):
            mixed.restart()
    assert mixed.final() == one_after_the_other.final()
    assert mixed.fold.state.baseline == one_after_the_other.fold.state.baseline
    assert mixed.fold.state.scores == one_after_the_other.fold.state.scores


@given(topics())
@settings(max_examples=50, deadline=None)
def test_replay_of_everything_says_nothing_and_changes_nothing(both: tuple[list[Input], list[Input]]) -> None:
    scorer = Scorer()
    for one in [*both[0], *both[1]]:
        scorer.take(one)
    said, row = len(scorer.said), scorer.fold.pack()
    scorer.restart()
    for one in [*both[1], *both[0]]:
        scorer.take(one)
    assert (len(scorer.said), scorer.fold.pack()) == (said, row)


def test_correction_makes_a_second_error_with_the_baseline_of_the_first() -> None:
    scorer = Scorer()
    for index in range(3):
        scorer.take(forecast(index))
    scorer.take(a_candle(1, 101.5))
    scorer.take(a_candle(2, 101.5))
    before = msgspec.structs.replace(scorer.fold.state.scores[60])
    (revised,) = scorer.take(a_candle(1, 98.0, revision=2))
    assert (revised.outcome_revision, revised.outcome_price) == (2, 98.0)
    assert revised.baseline_pinball_bps == pinball_bps(revised.return_bps, baseline_quantiles(12.5, [0.0] * 5))
    assert scorer.fold.state.scores[60] == before, "an outcome counts once"
    assert scorer.take(a_candle(1, 97.0, revision=1)) == [], "an older revision says nothing"


def test_synthetic_outcome_is_told_and_counts_in_no_score_until_it_is_real() -> None:
    scorer = Scorer()
    scorer.take(forecast(0))
    (told,) = scorer.take(a_candle(1, synthetic=True))
    assert told.synthetic
    assert (scorer.fold.state.scores, scorer.fold.state.baseline) == ({}, {})
    scorer.take(a_candle(1, 101.5, revision=1))
    assert scorer.fold.state.scores[60].scored == 1
    assert scorer.fold.state.baseline[60] == learn(START, [False] * 5)


def test_baseline_learns_by_the_rule_of_the_model() -> None:
    scorer, state = Scorer(), START
    for index in range(40):
        scorer.take(forecast(index))
        (error,) = scorer.take(a_candle(index + 1, 100.0 + 0.05 * (index % 7 - 3)))
        quantiles = [12.5 * (at + offset) for at, offset in zip(GAUSSIAN, state.offsets, strict=True)]
        assert error.baseline_pinball_bps == pytest.approx(pinball_bps(error.return_bps, quantiles), rel=1e-12)
        state = learn(state, [error.return_bps < quantile for quantile in quantiles])
    assert scorer.fold.state.baseline[60] == state
    assert scorer.fold.state.baseline[60].offsets != START.offsets


def test_rolling_scores_are_means_of_the_errors_and_begin_anew_with_a_version() -> None:
    scorer = Scorer()
    for index in range(20):
        scorer.take(a_candle(index + 1, 100.0 + 0.3 * (index % 5 - 2)))
        scorer.take(forecast(index))
    figures = scorer.fold.state.scores[60].figures()
    errors = scorer.said
    assert figures["pinball_bps"] == pytest.approx(sum(one.pinball_bps for one in errors) / 20, rel=0.02)
    assert figures["coverage50"] == pytest.approx(sum(one.inside50 for one in errors) / 20, abs=0.02)
    assert figures["coverage90"] == pytest.approx(sum(one.inside90 for one in errors) / 20, abs=0.02)
    assert figures["scored"] == 20
    scorer.take(a_candle(21))
    scorer.take(forecast(20, model_version="2"))
    assert scorer.fold.state.scores[60].figures()["scored"] == 1


def test_state_stays_bounded_whichever_topic_runs_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "MOST_KEPT", 50)
    ahead = Scorer()
    for index in range(200):
        ahead.take(a_candle(index))
    assert len(ahead.fold.state.outcomes) == 50
    assert ahead.take(a_candle(3, revision=1)) == []
    assert ahead.take(forecast(1)) == []
    assert ahead.fold.too_old == 2
    behind = Scorer()
    for index in range(200):
        behind.take(forecast(index))
    assert len(behind.fold.state.kept[60]) == 50


def test_rows_of_a_live_pair_leave_once_nothing_can_correct_them() -> None:
    scorer = Scorer()
    for index in range(300):
        scorer.take(a_candle(index))
        for horizon_s in (60, 300, 900):
            scorer.take(forecast(index, horizon_s=horizon_s))
    state = scorer.fold.state
    assert next(iter(state.outcomes)) >= START_MS + 300 * MINUTE_MS - KEEP_MS
    assert len(state.outcomes) < 20
    assert sum(len(waiting) for waiting in state.kept.values()) < 80
    assert len(scorer.fold.pack()) < 11_000
    assert len(scorer.said) == 300 * 3 - 1 - 5 - 15
