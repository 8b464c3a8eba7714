"""`/metrics`, read back with the library's own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agents.trades.metrics import Figures, exposition
from agents.trades.source import Counters
from redpanda import admin
from redpanda.local.checks import free_port
from tests.support.ingest import IngestStack, wait_for
from tests.support.pages import page

if TYPE_CHECKING:
    from pathlib import Path

    from kafka import KafkaAdminClient

    from redpanda.settings import BrokerSettings

Samples = dict[tuple[str, str], float]


def parse(text: str) -> Samples:
    """Give the samples of the service by name and label."""
    return {
        (sample.name.removeprefix("tickcast_ingest_"), "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("tickcast_ingest_")
    }


def read(figures: Figures) -> Samples:
    return parse(exposition(lambda: figures)().decode())


@given(
    counts=st.lists(st.integers(0, 2**50), min_size=len(Counters.__struct_fields__)),
    lag_s=st.floats(-1.0, 1e6),
    letters=st.dictionaries(st.text(max_size=20), st.integers(1, 9), max_size=4),
)
def test_every_figure_comes_back_under_its_name(counts: list[int], lag_s: float, letters: dict[str, int]) -> None:
    source = Counters(*counts[: len(Counters.__struct_fields__)])
    found = read(
        Figures(source, 1, 2, 3, lag_s, letters, {"open": 4, "repaired": 3}, 1, lease_held=True, lease_losses=6)
    )
    told = {name: value for (name, label), value in found.items() if not label and name != "dead_letters_total"}
    assert told == {
        "read_trades_total": source.read,
        "duplicate_trades_total": source.duplicate,
        "repaired_trades_total": source.repaired,
        "unrepairable_trades_total": source.unrepairable,
        "overflow_trades_total": source.overflow,
        "skipped_trades_total": source.skipped,
        "holes_found_total": source.holes,
        "reconnects_total": source.reconnects,
        "rest_calls_total": source.rest_calls,
        "published_trades_total": 1,
        "envelopes_total": 2,
        "in_flight_records": 3,
        "newest_trade_lag_seconds": lag_s,
        "open_holes": 1,
        "lease_held": 1,
        "lease_losses_total": 6,
        "ready": 0,
    }
    assert {label: found["dead_letters_total", label] for label in letters} == letters
    assert (found["hole_records_total", "open"], found["hole_records_total", "repaired"]) == (4, 3)


def test_before_the_first_trade_there_is_no_lag() -> None:
    assert ("newest_trade_lag_seconds", "") not in read(Figures())


def test_the_page_has_the_memory_of_the_process() -> None:
    names = {family.name for family in text_string_to_metric_families(exposition(Figures)().decode())}
    assert "process_resident_memory_bytes" in names


@pytest.mark.component
def test_a_running_service_tells_its_figures(
    tmp_path: Path, broker_settings: BrokerSettings, broker_admin: KafkaAdminClient
) -> None:
    admin.apply(broker_admin, broker_settings)
    faults = msgspec.json.encode({"bad_trade_every": 50}).decode()
    second = free_port()
    stack = IngestStack(
        tmp_path,
        broker_settings,
        TICKCAST_PAIRS="FIGURE/USD",
        TICKCAST_SIM_FAULTS=faults,
        TICKCAST_METRICS_ADDRESS=f"127.0.0.1:{second}",
    )
    with stack.runs("sim"), stack.runs("ingest") as service:
        wait_for(lambda: stack.count("published", service) > 500 and stack.get("/ready") == 200)
        wait_for(lambda: parse(stack.page("/metrics")[1]).get(("dead_letters_total", "price-not-positive"), 0) > 0)
        found = parse(stack.page("/metrics")[1])
        again = parse(page(second, "/metrics"))
    assert again["ready", ""] == 1
    assert found["published_trades_total", ""] > 500
    assert found["read_trades_total", ""] >= found["published_trades_total", ""]
    assert 0 < found["newest_trade_lag_seconds", ""] < 60
    assert (found["lease_held", ""], found["ready", ""]) == (1, 1)
