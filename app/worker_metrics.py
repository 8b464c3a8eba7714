"""`/metrics` of the worker: its figures in Prometheus' text form, in base units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
        last = GaugeMetricFamily(
            f"{_PREFIX}stage_last_timestamp_seconds", "When a stage's last record was durable", labels=["stage"]
        )
        for stage, at_ns in sorted(now.last_at_ns.items()):
            last.add_metric([stage], at_ns / 1e9)
        yield last


def worker_exposition(look: Callable[[], WorkerFigures]) -> Callable[[], bytes]:
    """Give the function that writes the page; it calls `look` each time."""
    registry = CollectorRegistry()
    registry.register(_Worker(look))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
