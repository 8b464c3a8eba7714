from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from app.worker_metrics import PHASES, WorkerFigures, worker_exposition


def samples(figures: WorkerFigures) -> dict[tuple[str, tuple[str, ...]], float]:
    text = worker_exposition(lambda: figures)().decode()
    return {
        (sample.name.removeprefix("tickcast_worker_"), tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_lag_is_what_was_not_delivered_and_what_is_in_hand() -> None:
    found = samples(WorkerFigures(positions={"forecast-errors-11": (40, 100, 5), "trades-0": (7, 0, 2)}))
    assert found["lag_records", ("11", "forecast-errors")] == 65
    assert found["lag_records", ("0", "trades")] == 2, "an end that is not known yet counts for nothing"


def test_one_phase_is_on() -> None:
    found = samples(WorkerFigures(phase="recovery", recovery_left=12))
    assert [found["phase", (name,)] for name in PHASES] == [0, 1, 0, 0]
    assert found["recovery_records_left", ()] == 12


def test_records_and_times_are_told_by_name() -> None:
    found = samples(
        WorkerFigures(counters={"late": 3}, last_at_ns={"candles": 1_700_000_000_500_000_000}, waiting=["forecasts"])
    )
    assert found["records_total", ("late",)] == 3
    assert found["stage_last_timestamp_seconds", ("candles",)] == 1_700_000_000.5
    assert found["waiting", ("forecasts",)] == 1


def test_each_look_is_fresh() -> None:
    figures = WorkerFigures()
    page = worker_exposition(lambda: figures)
    assert b'phase{phase="live"} 0.0' in page()
    figures.phase = "live"
    assert b'phase{phase="live"} 1.0' in page()


SCORE = {
    "pair": "BTC/USD",
    "horizon_s": 300,
    "model": "trees",
    "model_version": "7",
    "skill": 0.01,
    "coverage50": None,
    "drift_misses_alarm": True,
}
SERVED = {"model": "trees", "version": "7", "expires_at_ms": 2_000, "data_to_ms": None, "expired": False}


def test_scores_and_alarms_are_told_of_each_model_and_the_unknown_is_left_out() -> None:
    found = samples(WorkerFigures(scores=[SCORE], input_drift=[SCORE | {"moved": 0.25, "alarm": False}]))
    labels = tuple(sorted(("BTC/USD", "300", "trees", "7")))
    assert found["skill_ratio", labels] == 0.01
    assert found["drift_coverage_alarm", labels] == 1
    assert found["inputs_moved_ratio", labels] == 0.25
    assert not any(name == "coverage50_ratio" for name, _ in found)


def test_age_of_what_serves_is_told_in_seconds() -> None:
    found = samples(WorkerFigures(models={"300": SERVED}))
    labels = tuple(sorted(("300", "trees", "7")))
    assert found["model_expires_timestamp_seconds", labels] == 2
    assert found["model_expired", labels] == 0
    assert not any(name == "model_data_timestamp_seconds" for name, _ in found)
