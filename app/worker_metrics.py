"""`/metrics` of the worker: its figures in Prometheus' text form, in base units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.core import Metric

    from tables.status import Status

__all__ = ["CONTENT_TYPE_LATEST", "exposition"]

_PREFIX: Final = "tickcast_worker_"
_OF_FORECASTS: Final = ["pair", "horizon_s", "model", "version"]
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


class _Worker(Collector):
    def __init__(self, status: Callable[[], Status], recovering: Callable[[], int]) -> None:
        self._status = status
        self._recovering = recovering

    def describe(self) -> Iterable[Metric]:
        """Tell the registry nothing: names are checked by a test, not by a first look."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give all families with the values of this moment."""
        status = self._status()
        detail = cast("dict[str, Any]", status.detail)
        for name, value in sorted(status.counters.items()):
            if name != "lag":
                yield CounterMetricFamily(_PREFIX + name, f"Count of {name.replace('_', ' ')}", value=value)
        yield _gauge("live", "1 while the worker processes", status.state == "live")
        yield _gauge("failed", "1 once a stage has met a fault that ends the worker", status.state == "failed")
        yield _gauge("recovery_records", "Changelog records that are left to read", self._recovering())
        yield _lag(detail["partitions"])
        yield _labelled(
            "stage_done_timestamp_seconds",
            "When the effects of a stage's last record were durable",
            ["stage"],
            {(stage,): at_ns / 1e9 for stage, at_ns in detail["last_at_ns"].items()},
        )
        yield from _of_rows(detail["scores"], _SCORES)
        yield from _of_rows(detail["input_drift"], _INPUTS)
        yield from _of_models(detail["models"])


def _of_rows(rows: list[dict[str, Any]], names: Mapping[str, tuple[str, str]]) -> Iterable[Metric]:
    """Give one family for each figure, over pairs, horizons and versions."""
    for field, (name, about) in names.items():
        yield _labelled(
            name,
            about,
            _OF_FORECASTS,
            {
                (row["pair"], str(row["horizon_s"]), str(row["model"]), str(row["model_version"])): float(row[field])
                for row in rows
                if row.get(field) is not None
            },
        )


def _of_models(models: dict[str, dict[str, Any]]) -> Iterable[Metric]:
    """Give what serves each horizon."""
    for field, name, about, unit in (
        ("expires_at_ms", "model_expires_timestamp_seconds", "When the model in service is too old to be trusted", 1e3),
        ("data_to_ms", "model_data_timestamp_seconds", "Newest data of the model in service", 1e3),
        ("expired", "model_expired", "1 while the model in service is too old", 1.0),
        ("registry_answered_at_ms", "registry_answered_timestamp_seconds", "Last answer of the model registry", 1e3),
    ):
        found: dict[tuple[str, ...], float] = {
            (horizon_s, str(one["model"]), str(one["version"])): float(one[field]) / unit
            for horizon_s, one in models.items()
            if one.get(field) is not None
        }
        yield _labelled(name, about, ["horizon_s", "model", "version"], found)


def _lag(partitions: dict[str, list[int]]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + "lag_records", "Records that are not done", labels=["topic", "partition"])
    for place, (_, _, left) in sorted(partitions.items()):
        topic, _, partition = place.rpartition("-")
        family.add_metric([topic, partition], left)
    return family


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, about, value=value)


def _labelled(name: str, about: str, labels: list[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, about, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), value)
    return family


def exposition(status: Callable[[], Status], recovering: Callable[[], int]) -> Callable[[], bytes]:
    """Give the function that writes the page.

    Parameters
    ----------
    status
        What the status file would say now.
    recovering
        Changelog records that are left to read (count).

    """
    registry = CollectorRegistry()
    registry.register(_Worker(status, recovering))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
