"""`/metrics` of the worker: its figures in Prometheus' text form, in base units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.core import Metric

__all__ = ["PHASES", "WorkerFigures", "worker_exposition"]

PHASES: Final = ("starting", "recovery", "live", "failed")
_PREFIX: Final = "tickcast_worker_"
_OF_FORECASTS: Final = ("pair", "horizon_s", "model", "version")
_SCORES: Final = {
    "skill": ("skill_ratio", "Rolling pinball skill over the volatility baseline"),
    "coverage50": ("coverage50_ratio", "Rolling share of outcomes inside of the 50 % interval"),
    "coverage90": ("coverage90_ratio", "Rolling share of outcomes inside of the 90 % interval"),
    "pinball_bps": ("pinball_bps", "Rolling mean pinball loss in basis points"),
    "trusted_share": ("trusted_ratio", "Rolling share of trusted forecasts"),
    "drift_loss_alarm": ("drift_loss_alarm", "1 while error-drift stands"),
    "drift_misses_alarm": ("drift_coverage_alarm", "1 while coverage stands"),
    "drift_skill_alarm": ("drift_skill_alarm", "1 while skill stands"),
}
_INPUTS: Final = {
    "moved": ("inputs_moved_ratio", "Share of a model's inputs that have left its training rows"),
    "alarm": ("inputs_alarm", "1 while feature-drift stands"),
}
_MODELS: Final = {
    "expires_at_ms": ("model_expires_timestamp_seconds", "When the model in service is too old to be trusted", 1_000),
    "data_to_ms": ("model_data_timestamp_seconds", "Newest data of the model in service", 1_000),
    "expired": ("model_expired", "1 while the model in service is too old", 1),
    "registry_answered_at_ms": ("registry_answered_timestamp_seconds", "Last answer of the model registry", 1_000),
}


class WorkerFigures(msgspec.Struct):
    """Everything that is told, at one moment."""

    phase: str = "starting"
    counters: Mapping[str, int] = {}
    """Records by what became of them (count), `agents.stage.WorkerState.counters`."""
    positions: Mapping[str, Sequence[int]] = {}
    """By `topic-partition`: next offset to deliver, end of the log, records not done."""
    recovery_left: int = 0
    """Changelog records that recovery still has to read (count)."""
    waiting: Sequence[str] = ()
    """Topics whose writer waits for the store."""
    last_at_ns: Mapping[str, int] = {}
    """Wall clock when the effects of a stage's last record were durable (ns), by stage."""
    scores: Sequence[Mapping[str, Any]] = ()
    """A row for each pair and horizon: `ml.scoring.PairScores.figures`."""
    input_drift: Sequence[Mapping[str, Any]] = ()
    """A row for each pair and horizon: `ml.input_drift.PairInputs.figures`."""
    models: Mapping[str, Mapping[str, Any]] = {}
    """By horizon in seconds: `agents.champions.ChampionWatch.report`."""


class _Worker(Collector):
    def __init__(self, look: Callable[[], WorkerFigures]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Tell the registry nothing: names are checked by a test, not by a first look."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give all families with the values of this moment."""
        now = self._look()
        records = CounterMetricFamily(f"{_PREFIX}records", "Records by what became of them", labels=["what"])
        for what, count in sorted(now.counters.items()):
            records.add_metric([what], count)
        yield records
        lag = GaugeMetricFamily(f"{_PREFIX}lag_records", "Records not done yet", labels=["topic", "partition"])
        for place, (consumed, end, open_records) in sorted(now.positions.items()):
            topic, _, partition = place.rpartition("-")
            lag.add_metric([topic, partition], max(0, end - consumed) + open_records)
        yield lag
        yield GaugeMetricFamily(
            f"{_PREFIX}recovery_records_left", "Changelog records that recovery has to read", value=now.recovery_left
        )
        phase = GaugeMetricFamily(f"{_PREFIX}phase", "1 for the phase the worker is in", labels=["phase"])
        for name in PHASES:
            phase.add_metric([name], name == now.phase)
        yield phase
        waiting = GaugeMetricFamily(f"{_PREFIX}waiting", "1 for a topic that waits for the store", labels=["topic"])
        for topic in sorted(now.waiting):
            waiting.add_metric([topic], 1)
        yield waiting
        stages = {(stage,): at_ns / 1e9 for stage, at_ns in now.last_at_ns.items()}
        yield _labelled("stage_last_timestamp_seconds", "When a stage's last record was durable", ("stage",), stages)
        yield from _of_rows(now.scores, _SCORES)
        yield from _of_rows(now.input_drift, _INPUTS)
        yield from _of_models(now.models)


def _of_rows(rows: Sequence[Mapping[str, Any]], names: Mapping[str, tuple[str, str]]) -> Iterable[Metric]:
    """Give a family for each figure, over pairs, horizons and versions; what is not known yet is left out."""
    for field, (name, about) in names.items():
        values = {
            (row["pair"], str(row["horizon_s"]), str(row["model"]), str(row["model_version"])): float(row[field])
            for row in rows
            if row.get(field) is not None
        }
        yield _labelled(name, about, _OF_FORECASTS, values)


def _of_models(models: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    """Give what serves each horizon."""
    for field, (name, about, divisor) in _MODELS.items():
        values = {
            (horizon_s, str(one["model"]), str(one["version"])): float(one[field]) / divisor
            for horizon_s, one in models.items()
            if one.get(field) is not None
        }
        yield _labelled(name, about, _OF_FORECASTS[1:], values)


def _labelled(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, about, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def worker_exposition(look: Callable[[], WorkerFigures]) -> Callable[[], bytes]:
    """Give the function that writes the page; it calls `look` each time."""
    registry = CollectorRegistry()
    registry.register(_Worker(look))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
