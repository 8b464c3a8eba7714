"""Memory of the ingest service over time: a sender at a steady rate, and the slope of the service's resident memory.

The service runs as a child process on a real broker, as in production; the topic keeps little, so that the disk
stays small. The slope is a least-squares line over the samples after the warm-up, with a 95 % interval that takes the
samples for independent (they are not quite: read it as a lower bound of the doubt).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import psutil
from kafka.admin import ConfigResource, ConfigResourceType
from rich.console import Console
from rich.table import Table

from redpanda.admin import connect
from redpanda.local.checks import free_port
from redpanda.topics import TRADES
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.ingest import listens, published, service_env, told
from tests.bench.ingest_sender import Plan
from tests.bench.stack import BenchError, Child, Stack, running
from tests.support.waiting import wait_for

PAIR: Final = "SOAK/USD"
KEPT: Final = {"retention.ms": "60000", "retention.bytes": str(32 << 20), "segment.bytes": str(8 << 20)}
SLOPE_LIMIT_KB_PER_MIN: Final = 50.0
"""3 MB an hour: what `fault` complains about in a run of at least half an hour."""
WARM_UP_SHARE: Final = 0.2
LEAST_SAMPLES: Final = 3
START_S: Final = 60.0


class Sample(msgspec.Struct, frozen=True):
    """One look at the service."""

    at_s: float
    rss_kb: int
    published: int
    told_ms: int = 0
    """When the service told `published`."""


def slope(samples: list[Sample]) -> tuple[float, float]:
    """Fit a line: kB/min and the half width of its 95 % interval."""
    at_min = np.array([one.at_s / 60 for one in samples])
    rss_kb = np.array([one.rss_kb for one in samples], dtype=np.float64)
    if len(samples) < LEAST_SAMPLES:
        raise BenchError(f"{len(samples)} samples after the warm-up: give more --seconds, or a smaller --every-s")
    away = at_min - at_min.mean()
    per_min = float((away * rss_kb).sum() / (away**2).sum())
    left = rss_kb - rss_kb.mean() - per_min * away
    error = float(np.sqrt((left**2).sum() / (len(samples) - 2) / (away**2).sum()))
    return per_min, 1.96 * error


def watch(stack: Stack, asked: argparse.Namespace, console: Console) -> list[Sample]:
    """Run the sender and the service, and look every few seconds."""
    with connect(stack.broker) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TRADES, KEPT)])
    home, port = stack.home, free_port()
    plan = home / "plan.json"
    plan.write_bytes(msgspec.json.encode(Plan(port, PAIR, 0, asked.rate, str(home / "sender.out"))))
    sender = Child(["-m", "tests.bench.ingest_sender", str(plan)], {}, home / "sender.log")
    wait_for(lambda: listens(port), START_S)
    service = Child(["-m", "app.cli", "ingest"], service_env(stack, PAIR, port), home / "ingest.log")
    samples: list[Sample] = []
    try:
        wait_for(lambda: published(home, service) > 0, START_S)
        process, started_s = psutil.Process(service.pid), time.monotonic()
        while (at_s := time.monotonic() - started_s) < asked.seconds:
            sender.check()
            samples.append(Sample(round(at_s, 2), process.memory_info().rss // 1024, *told(home, service)))
            rate = _rate(samples)
            console.print(
                f"{at_s:6.0f} of {asked.seconds:.0f} s  {samples[-1].rss_kb:,} kB  {samples[-1].published:,} trades  "
                f"{rate:,.0f}/s",
                highlight=False,
            )
            due_s = min(started_s + len(samples) * asked.every_s, started_s + asked.seconds)
            time.sleep(max(0.0, due_s - time.monotonic()))
    finally:
        service.stop()
        sender.stop()
    return samples


def _rate(samples: list[Sample]) -> float:
    last, before = samples[-1], samples[max(0, len(samples) - 4)]
    span_s = (last.told_ms - before.told_ms) / 1_000
    return (last.published - before.published) / span_s if span_s else 0.0


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run and fit."""
    busy = machine.busy_cores(asked.wait_s)
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-soak-") as folder,
        running(Path(folder), with_store=False) as stack,
    ):
        stack.reset()
        samples = watch(stack, asked, console)
    warm = [one for one in samples if one.at_s >= asked.seconds * WARM_UP_SHARE]
    per_min, half = slope(warm)
    # By the service's own time: a look may find what it found before.
    span_s = (warm[-1].told_ms - warm[0].told_ms) / 1_000
    return {
        "name": "soak",
        "machine": machine.describe(),
        "figures": {
            "rss_slope_kb_per_min": round(per_min, 1),
            "rss_slope_kb_per_min_95": [round(per_min - half, 1), round(per_min + half, 1)],
            "rss_slope_mb_per_h": round(per_min * 60 / 1024, 2),
            "rss_mb": round(warm[-1].rss_kb / 1024, 1),
            "trades_per_s": round((warm[-1].published - warm[0].published) / span_s),
        },
        "peer": None,
        "ratio": None,
        "seconds": asked.seconds,
        "rate": asked.rate,
        "busy_cores": busy,
        "runs": msgspec.to_builtins(samples),
    }


def fault(found: dict[str, Any]) -> str:
    """Say whether memory grows, in a run that is long enough to tell."""
    low = found["figures"]["rss_slope_kb_per_min_95"][0]
    if found["seconds"] >= 1_800 and low > SLOPE_LIMIT_KB_PER_MIN:
        return f"memory grows by {low:.0f} kB/min or more, allowed are {SLOPE_LIMIT_KB_PER_MIN:.0f}"
    if found["figures"]["trades_per_s"] < 0.95 * found["rate"]:
        return f"{found['figures']['trades_per_s']:,} trades/s came through of {found['rate']:,.0f}"
    return ""


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title=f"soak: {found['seconds']:.0f} s at {found['rate']:,.0f} trades/s", title_justify="left")
    for name in ("memory", "slope", "95 %", "trades/s"):
        table.add_column(name, justify="right", no_wrap=True)
    figures = found["figures"]
    low, high = figures["rss_slope_kb_per_min_95"]
    table.add_row(
        f"{figures['rss_mb']} MB",
        f"{figures['rss_slope_kb_per_min']} kB/min",
        f"{low} .. {high}",
        f"{figures['trades_per_s']:,}",
    )
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3_600.0, help="how long (3,600)")
    parser.add_argument("--rate", type=float, default=5_000.0, help="trades/s (5,000)")
    parser.add_argument("--every-s", type=float, default=5.0, help="seconds between two looks (5)")
    parser.add_argument("--wait-s", type=float, default=0.0, help="wait so long for a quiet machine (0)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "soak.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out, fault=fault)


if __name__ == "__main__":
    sys.exit(main())
