from __future__ import annotations

import math
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from app.worker_metrics import exposition
from tables.status import Status

LABELS = {"pair": "BTC/USD", "horizon_s": "300", "model": "trees", "version": "7"}
SCORE: dict[str, Any] = {
    "pair": "BTC/USD",
    "horizon_s": 300,
    "model": "trees",
    "model_version": "7",
    "skill": 0.01,
    "coverage50": 0.5,
    "coverage90": 0.9,
    "pinball_bps": 1.5,
    "trusted_share": 0.97,
    "drift_loss_alarm": False,
    "drift_misses_alarm": True,
    "drift_skill_alarm": False,
}
SERVED = {"model": "trees", "version": "7", "expires_at_ms": 2_000, "data_to_ms": 1_000, "expired": False}
EMPTY: dict[str, Any] = {"partitions": {}, "last_at_ns": {}, "scores": [], "input_drift": [], "models": {}}


def samples(detail: dict[str, Any], state: str = "live") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    status = Status("worker", state, counters={"trades": 5, "dead_letters": 1, "lag": 3}, detail=EMPTY | detail)
    page = exposition(lambda: status, lambda: 11)().decode()
    families = list(text_string_to_metric_families(page))
    assert all(family.documentation for family in families)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_a_worker_that_has_done_nothing_yet_has_a_page() -> None:
    found = samples({}, "recovery")
    assert found["tickcast_worker_live", ()] == 0.0
    assert found["tickcast_worker_recovery_records", ()] == 11.0
    assert found["tickcast_worker_trades_total", ()] == 5.0
    assert not any("lag_total" in name for name, _ in found)


def test_figures_carry_units_and_labels() -> None:
    found = samples(
        {
            "partitions": {"forecast-errors-2": [4, 9, 5]},
            "last_at_ns": {"candles": 1_500_000_000},
            "scores": [SCORE],
            "input_drift": [SCORE | {"moved": 0.25, "alarm": True}],
            "models": {"300": SERVED | {"registry_answered_at_ms": None}},
        }
    )
    prefix, labels = "tickcast_worker_", tuple(sorted(LABELS.items()))
    served = tuple(sorted((name, LABELS[name]) for name in ("horizon_s", "model", "version")))
    assert found[prefix + "lag_records", (("partition", "2"), ("topic", "forecast-errors"))] == 5.0
    assert found[prefix + "stage_done_timestamp_seconds", (("stage", "candles"),)] == 1.5
    assert found[prefix + "skill_ratio", labels] == 0.01
    assert found[prefix + "drift_coverage_alarm", labels] == 1.0
    assert found[prefix + "inputs_moved_ratio", labels] == 0.25
    assert found[prefix + "model_expires_timestamp_seconds", served] == 2.0
    assert found[prefix + "model_expired", served] == 0.0
    assert not any(name == prefix + "registry_answered_timestamp_seconds" for name, _ in found)


def test_what_is_not_known_yet_is_left_out() -> None:
    found = samples({"scores": [SCORE | {"skill": None}]})
    assert not any(name.endswith("skill_ratio") for name, _ in found)
    assert not any(math.isnan(value) for value in found.values())
