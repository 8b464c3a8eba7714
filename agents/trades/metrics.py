"""`/metrics` of the ingest service: its figures in Prometheus' text form, in base units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.trades.source import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.core import Metric

__all__ = ["CONTENT_TYPE_LATEST", "Figures", "exposition"]

_PREFIX: Final = "tickcast_ingest_"
_OF_SOURCE: Final = {
    "read": ("read_trades", "Trades decoded, duplicates included"),
    "duplicate": ("duplicate_trades", "Trades that had been taken before"),
    "repaired": ("repaired_trades", "Trades that REST gave after the socket had not"),
    "unrepairable": ("unrepairable_trades", "Trade ids given up"),
    "overflow": ("overflow_trades", "Trades dropped because too many waited; each comes back through a repair"),
    "skipped": ("skipped_trades", "Rows of a recording that were not asked for"),
    "holes": ("holes_found", "Holes found"),
    "reconnects": ("reconnects", "Connections to the exchange that were lost"),
    "rest_calls": ("rest_calls", "Requests sent to the exchange's REST API"),
}


class Figures(msgspec.Struct):
    """Everything that is told, at one moment."""

    source: Counters = msgspec.field(default_factory=Counters)
    published: int = 0
    envelopes: int = 0
    in_flight: int = 0
    newest_lag_s: float | None = None
    """Age of the newest trade that the broker has acknowledged (s); None before the first."""
    dead_letters: Mapping[str, int] = {}
    """By reason (count)."""
    holes: Mapping[str, int] = {}
    """Records of holes by state (count)."""
    open_holes: int = 0
    lease_held: bool = False
    lease_losses: int = 0
    ready: bool = False


class _Ingest(Collector):
    def __init__(self, look: Callable[[], Figures]) -> None:
        self._look = look

    def describe(self) -> Iterable[Metric]:
        """Tell the registry nothing: names are checked by a test, not by a first look."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give all families with the values of this moment."""
        now = self._look()
        for field, (name, about) in _OF_SOURCE.items():
            yield _counter(name, about, getattr(now.source, field))
        yield _counter("published_trades", "Trades that the broker has acknowledged", now.published)
        yield _counter("envelopes", "Records of topic trades handed to the producer", now.envelopes)
        yield _counter("lease_losses", "Leases lost or given back", now.lease_losses)
        yield _labelled("dead_letters", "Refused records", "reason", now.dead_letters)
        yield _labelled("hole_records", "Records sent to topic holes", "state", now.holes)
        yield _gauge("open_holes", "Holes that are neither filled nor given up", now.open_holes)
        yield _gauge("in_flight_records", "Trades and other records not yet acknowledged", now.in_flight)
        yield _gauge("lease_held", "1 while this process may publish", now.lease_held)
        yield _gauge("ready", "1 while /ready says so", now.ready)
        if now.newest_lag_s is not None:
            yield _gauge("newest_trade_lag_seconds", "Age of the newest acknowledged trade", now.newest_lag_s)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, about, value=value)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, about, value=value)


def _labelled(name: str, about: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, about, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def exposition(look: Callable[[], Figures]) -> Callable[[], bytes]:
    """Give the function that writes the page; it calls `look` each time."""
    registry = CollectorRegistry()
    registry.register(_Ingest(look))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
