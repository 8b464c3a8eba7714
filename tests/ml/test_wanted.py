from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml.inputs import INPUT_SET
from ml.wanted import Told, Wanted, decode, due, encode
from tables.records import TrainRequest
from tables.status import Progress

HOUR_S = 3_600.0
TRAINED = Told(full_ms=1_000, inputs=INPUT_SET)
texts = st.text(max_size=400)
tolds = st.builds(
    Told,
    holder=texts,
    state=st.sampled_from(["idle", "training", "released"]),
    error=texts,
    progress=st.none() | st.builds(Progress, st.text(max_size=40), st.integers(0, 99), st.integers(0, 99)),
    reason=texts,
    full_ms=st.integers(0, 1 << 45),
    inputs=st.just(INPUT_SET),
    verdicts=st.dictionaries(st.sampled_from([str(60 * n) for n in range(1, 16)]), texts, max_size=14),
)


def request(horizon_s: int = 0, reason: str = "demand") -> TrainRequest:
    return TrainRequest(horizon_s, reason, "", "", 0)


def test_schedule_trains_all_and_answers_what_was_asked_meanwhile() -> None:
    assert due(Told(), [], 0, 0, HOUR_S) == Wanted((), "schedule", 0)
    assert due(TRAINED, [], 3, 3_601_000, HOUR_S) == Wanted((), "schedule", 3)
    assert due(TRAINED, [request(60, "drift")], 4, 3_601_000, HOUR_S) == Wanted((), "schedule, drift", 4)
    assert due(TRAINED, [], 3, 3_600_999, HOUR_S) is None


def test_update_that_changes_the_inputs_is_a_reason_to_train() -> None:
    assert due(Told(full_ms=1_000, inputs="older"), [], 0, 1_001, HOUR_S) == Wanted((), "schedule", 0)


def test_clock_that_was_far_ahead_does_not_put_training_off_for_ever() -> None:
    ahead = Told(full_ms=9_000_000, inputs=INPUT_SET)
    assert due(ahead, [], 0, 1_000, HOUR_S) == Wanted((), "schedule", 0)


def test_requests_come_together_in_one_training() -> None:
    rows = [request(300, "drift"), request(60, "skill"), request(300, "drift")]
    assert due(TRAINED, rows, 3, 2_000, HOUR_S) == Wanted((60, 300), "drift, skill", 3)
    assert due(TRAINED, [*rows, request(0)], 4, 2_000, HOUR_S) == Wanted((), "demand, drift, skill", 4)


@given(tolds)
def test_what_is_told_fits_beside_an_offset_and_keeps_the_schedule(told: Told) -> None:
    text = encode(told)
    assert len(text) <= 4_096
    read = decode(text)
    assert (read.full_ms, read.inputs, read.state) == (told.full_ms, told.inputs, told.state)


def test_short_texts_are_told_whole() -> None:
    told = Told("host:1", "training", "", Progress("tuning 1 min", 3, 12), "drift", 5, INPUT_SET, {"60": "promoted"})
    assert decode(encode(told)) == told


@given(st.text() | st.none())
def test_what_others_committed_is_as_good_as_nothing(text: str | None) -> None:
    assert isinstance(decode(text), Told)
    assert decode("{}") == decode("") == decode(None) == Told()
