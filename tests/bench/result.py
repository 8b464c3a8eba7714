"""From raw runs to figures: medians, the ratio, the JSON file and the table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench.machine import one_line

__all__ = ["RESULTS", "Run", "assemble", "show", "write"]

RESULTS = Path(__file__).parent / "results"
PEERS = ("current", "final")


class Run(msgspec.Struct, frozen=True):
    """One worker over the whole topic."""

    job: str
    """`tickcast`, `candles-only` (tickcast without the sink), `current` or `final` (the peer's)."""
    envelope: int
    """Trades a record (count)."""
    trades: int
    seconds: float
    """First trade seen to last output record in the topic."""
    to_store_seconds: float | None
    """First trade seen to last candle in ClickHouse; None where nothing is stored."""
    outputs: int
    """Records in the output topic (count)."""
    busy_cores: float
    """Cores that others kept busy just before the run."""
    market: str = "recorded"
    """`recorded`, or `busy`: the same trades with squeezed times."""


def assemble(
    machine: dict[str, object], runs: list[Run], notes: dict[str, Any], peer: dict[str, Any]
) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    busy = [run for run in runs if run.market == "busy"]
    runs, everything = [run for run in runs if run.market == "recorded"], runs
    ours = [run for run in runs if run.job == "tickcast"]
    sizes = sorted({run.envelope for run in ours})
    alone, busy_alone = ([run for run in some if run.job == "candles-only"] for some in (runs, busy))
    figures: dict[str, dict[str, int | None]] = {
        "trades_per_s": {str(size): _median(run for run in ours if run.envelope == size) for size in sizes},
        "to_store_trades_per_s": {str(size): _median_stored(ours, size) for size in sizes},
        "candles_only_trades_per_s": _by_size(alone),
        "busy_trades_per_s": _by_size(busy_alone),
    }
    peers = {emit: _median(run for run in runs if run.job == emit) for emit in PEERS}
    peers["busy_current"] = _median(run for run in busy if run.job == "current")
    return {
        "name": "replay",
        "machine": machine,
        "figures": figures,
        "peer": {"trades_per_s": peers, **peer},
        "ratio": _ratio(figures["trades_per_s"].get("1"), peers["current"]),
        "ratio_final": _ratio(figures["trades_per_s"].get("1"), peers["final"]),
        "ratio_candles_only": _ratio(figures["candles_only_trades_per_s"].get("1"), peers["current"]),
        "ratio_busy": _ratio(figures["busy_trades_per_s"].get("1"), peers["busy_current"]),
        **notes,
        "runs": msgspec.to_builtins(everything),
    }


def _median(runs: Iterable[Run]) -> int | None:
    rates = [run.trades / run.seconds for run in runs]
    return round(median(rates)) if rates else None


def _by_size(runs: list[Run]) -> dict[str, int | None]:
    sizes = sorted({run.envelope for run in runs})
    return {str(size): _median(run for run in runs if run.envelope == size) for size in sizes}


def _median_stored(runs: list[Run], size: int) -> int:
    return round(
        median(run.trades / run.to_store_seconds for run in runs if run.envelope == size and run.to_store_seconds)
    )


def _ratio(ours: int | None, peer: int | None) -> float | None:
    return round(ours / peer, 2) if ours and peer else None


def write(result: dict[str, Any], file: Path) -> None:
    """Write the result for people and programs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title=f"replay: {result['trades']:,} trades, one worker", title_justify="left")
    for name in ("job", "size", "trades/s", "stored/s", "slowest .. fastest", "runs"):
        table.add_column(name, justify="left" if name == "job" else "right", no_wrap=True)
    figures, peers = result["figures"], result["peer"]["trades_per_s"]
    for size, speed in figures["trades_per_s"].items():
        stored = f"{figures['to_store_trades_per_s'][size]:,}"
        table.add_row(
            "candles x6, ClickHouse", size, f"{speed:,}", stored, *_spread(result["runs"], "tickcast", int(size))
        )
    for market, name in (("recorded", "candles_only_trades_per_s"), ("busy", "busy_trades_per_s")):
        for size, speed in figures[name].items():
            spread = _spread(result["runs"], "candles-only", int(size), market)
            table.add_row(f"candles x6, {market} market", size, f"{speed:,}", "-", *spread)
    for name, speed in peers.items():
        market, _, emit = name.rpartition("_")
        if speed is not None:
            label = f"Quix {emit}() x1, {market or 'recorded'} market"
            table.add_row(label, "1", f"{speed:,}", "-", *_spread(result["runs"], emit, 1, market or "recorded"))
    console.print(table)
    console.print(f"[dim]{one_line(result['machine'])}[/dim]", highlight=False)
    if result["ratio"] is not None:
        line = f"{result['ratio']} times Quix current() at one trade a record"
        more = {
            "ratio_final": "times its final()",
            "ratio_candles_only": "times current() without the sink",
            "ratio_busy": "times current() in the busy market",
        }
        line += "".join(f", {result[key]} {what}" for key, what in more.items() if result[key])
        console.print(line, highlight=False)


def _spread(runs: list[dict[str, Any]], job: str, size: int, market: str = "recorded") -> tuple[str, str]:
    wanted = (job, size, market)
    rates = [run["trades"] / run["seconds"] for run in runs if (run["job"], run["envelope"], run["market"]) == wanted]
    return f"{min(rates):,.0f} .. {max(rates):,.0f}", str(len(rates))
