from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from app.board import Board, line, render
from app.snapshot import Part, Snapshot, part_state
from tables.status import Progress, Status

PAIRS = {"BTC/USD": 64_123.4, "ETH/USD": 3_012.55, "SOL/USD": 145.123, "ADA/USD": 0.38123}


def forecast(pair: str, price: float, horizon_s: int, **changes: Any) -> dict[str, Any]:
    return {
        "pair": pair,
        "horizon_s": horizon_s,
        "base_price": price,
        **{name: price * by for name, by in (("q05", 0.99), ("q25", 0.997), ("q75", 1.004), ("q95", 1.012))},
        "q50": price * 1.001,
        "p_up": 0.52,
        "model": "ewma",
        "model_version": "1",
        "trusted": True,
        "reasons": [],
        "target_ms": 0,
        "made_at_ms": 0,
        **changes,
    }


def snapshot(source: str = "sim", **changes: Any) -> Snapshot:
    forecasts = [forecast(pair, price, h) for pair, price in PAIRS.items() for h in (60, 300, 900)]
    worker = Status(
        name="worker",
        state="live",
        counters={
            "trades": 1_234_567,
            "candles": 8_910,
            "features": 8_900,
            "forecasts": 432,
            "dead_letters": 2,
            "lag": 17,
        },
        detail={"forecasts": forecasts, "first_forecast_at_ms": 1, "live_close": {"BTC/USD": 64_200.0}},
    )
    ingest = Status(name="ingest", state="backfill", progress=Progress("backfill BTC/USD", 4_500, 10_000))
    trainer = Status(name="trainer", state="training", progress=Progress("training 5 min", 3, 12))
    parts = [Part(n, "live", 100.0, 0) for n in ("broker", "store", "sim", "ingest", "worker", "trainer", "api")]
    values: dict[str, Any] = {
        "source": source,
        "uptime_s": 83.0,
        "parts": parts,
        "statuses": {status.name: status for status in (worker, ingest, trainer)},
        "rates_per_s": {"trades": 3_210.0, "candles": 2.5},
        "rss_mb": 1_480.0,
        "rss_peak_mb": 1_600.0,
        "api_url": "http://127.0.0.1:18000",
        "home": "/home/me/.tickcast",
    }
    return Snapshot(**{**values, **changes})


def drawn(shown: Snapshot, width: int, height: int) -> list[str]:
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
    console.print(render(shown, width, height))
    return console.export_text().rstrip("\n").splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_board_fits_the_terminal_and_shows_everything_that_matters(width: int, height: int) -> None:
    lines = drawn(snapshot(), width, height)
    text = "\n".join(lines)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    for wanted in (
        "SIMULATED",
        "01:23",
        "45 %",
        "25 %",
        "1,234,567",
        "3,210/s",
        "lag 17",
        "dead letters 2",
        "1,480 MB",
    ):
        assert wanted in text
    for wanted in ("BTC/USD", "64,200.00", "63,482.17", "64,892.88", "http://127.0.0.1:18000", "/schema", "Ctrl-C"):
        assert wanted in text
    assert all(pair in text for pair in PAIRS)
    assert "…" not in text


def test_wide_board_shows_model_and_trust() -> None:
    text = "\n".join(drawn(snapshot(), 120, 40))
    assert "ewma v1" in text
    assert "yes" in text


def test_small_board_says_how_many_forecasts_it_leaves_out() -> None:
    assert any("more: make the window taller" in text for text in drawn(snapshot(), 80, 20))


def test_forecast_that_is_not_trusted_says_why() -> None:
    shown = snapshot()
    shown.statuses["worker"].detail["forecasts"] = [
        forecast("BTC/USD", 64_000.0, 60, trusted=False, reasons=["warm-up", "stale"])
    ]
    assert "warm-up, stale" in "\n".join(drawn(shown, 120, 24))
    # Where it is narrow the words give way to the prices.
    assert " warm-" in "\n".join(drawn(shown, 80, 24))


@pytest.mark.parametrize(
    ("source", "label"), [("sim", "SIMULATED"), ("kraken", "Kraken, live"), ("replay:/x/t.csv", "REPLAY of /x/t.csv")]
)
def test_source_is_always_shown(source: str, label: str) -> None:
    assert label in drawn(snapshot(source), 80, 24)[0]
    assert label in line(snapshot(source))


def test_start_shows_what_is_being_waited_for() -> None:
    shown = snapshot(waiting_for="starting broker: Kafka 4.1: kafka-clients.jar", statuses={})
    assert "kafka-clients.jar" in "\n".join(drawn(shown, 80, 24))
    assert "kafka-clients.jar" in line(shown)


def test_restarting_process_is_named() -> None:
    shown = snapshot(parts=[Part("worker", "restarting", 0.0, 2)])
    assert "worker restarting (2 restarts)" in "\n".join(drawn(shown, 80, 24))


def test_without_a_terminal_plain_lines_are_printed_and_not_on_every_look() -> None:
    file = io.StringIO()
    board = Board(Console(file=file, width=80))
    with board:
        for trades in range(5):
            shown = snapshot()
            shown.statuses["worker"].counters["trades"] = trades
            board.show(shown)
    lines = file.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("[01:23] SIMULATED market")
    assert "\x1b" not in file.getvalue()


def test_a_process_that_has_stopped_telling_is_silent_and_not_live() -> None:
    told = Status("store", "live", at_ms=1_000_000)
    assert part_state("running", told, 1_019_000, settled=True) == "live"
    assert part_state("running", told, 1_021_000, settled=True) == "silent"
    assert part_state("running", told, 1_021_000, settled=False) == "live", "it may not have begun to tell"
    assert part_state("waiting", told, 1_021_000, settled=True) == "restarting"
    assert part_state("running", None, 0, settled=True) == "live"
