"""The API under load, beside FastAPI serving the same view: latency at a rate, and requests a second.

What is asked for are the latest forecasts of one pair.

One process of each on one core, the load generator on another one. Latency counts from the time at which a request
was due. FastAPI stands bare; tickcast answers through keys, limits and security headers, as it always does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from redpanda.local.checks import free_port
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.serve_gate import access_us
from tests.bench.serve_load import at_rate, flat_out, once
from tests.bench.serve_servers import PATH, Plan
from tests.bench.stack import BenchError
from tests.support.pages import ask
from tests.support.waiting import wait_for

SERVERS: Final = ("tickcast", "fastapi")
RATE: Final = 500.0
GOAL_P99_MS: Final = 10.0
GOAL_PER_S: Final = 3_000
ALL: Final = "/v1/forecasts/latest"
VOLATILE: Final = ("as_of_ms", "as_of")


class Run(msgspec.Struct, frozen=True):
    """One server, once."""

    server: str
    requests_per_s: float
    cpu_us: float
    """Processor time of the server for one request of these, us: less moved by a busy machine."""
    p50_ms: float
    p99_ms: float
    max_ms: float
    at_rate: int
    """Requests of the open loop (count)."""
    generator_behind_ms: float
    busy_cores: float
    """Cores that others kept busy just before the run."""


def cores() -> tuple[int | None, int | None]:
    """Give a core for the server and one for the load; None where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[-1]) if len(mine) > 1 else (None, None)


@contextmanager
def serving(folder: Path, server: str, body: str = "") -> Iterator[tuple[int, int]]:
    """Run one server in a process of its own; gives its port and process."""
    port = free_port()
    plan = folder / f"{server}.json"
    plan.write_bytes(msgspec.json.encode(Plan(server, str(folder), port, cores()[0], body)))
    with (folder / f"{server}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.serve_servers", plan], stderr=log, stdout=log)
    try:
        wait_for(lambda: process.poll() is not None or ask(port, ALL)[0] == 200, 60)
        if process.poll() is not None:
            raise BenchError(f"{server} did not start: {(folder / f'{server}.log').read_text()[-500:]}")
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def steady(body: bytes) -> dict[str, Any]:
    """Give an answer without the times that differ from one to the next."""
    found: dict[str, Any] = msgspec.json.decode(body)
    return {name: value for name, value in found.items() if name not in VOLATILE}


def one_run(server: str, port: int, pid: int, asked: argparse.Namespace, seed: int) -> Run:
    """Warm up, then the open loop, then flat out."""
    busy = machine.busy_cores(asked.wait_s)
    flat_out(port, PATH, asked.connections, min(1.0, asked.seconds))
    paced = at_rate(port, PATH, asked.connections, RATE, asked.seconds, seed)
    before_s = machine.cpu_s(pid)
    most = flat_out(port, PATH, asked.connections, asked.seconds)
    cpu_us = (machine.cpu_s(pid) - before_s) / most.requests * 1e6
    p50, p99 = np.percentile(paced.latencies_ms, (50, 99))
    return Run(
        server,
        round(most.requests / most.seconds, 1),
        round(cpu_us, 1),
        round(float(p50), 3),
        round(float(p99), 3),
        round(max(paced.latencies_ms), 3),
        paced.requests,
        paced.behind_ms,
        busy,
    )


def measure(asked: argparse.Namespace, console: Console) -> list[Run]:
    """Run the servers in turn, each afresh."""
    core = cores()[1]
    if core is not None:
        os.sched_setaffinity(0, {core})
    runs: list[Run] = []
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as name,
        Progress(console=console, transient=True, refresh_per_second=1) as progress,
    ):
        task = progress.add_task("serve", total=asked.runs * len(SERVERS))
        folder = Path(name)
        with serving(folder, "tickcast") as (port, _):
            body, expected = once(port, ALL), steady(once(port, PATH))
        for number in range(asked.runs):
            for server in SERVERS:
                with serving(folder, server, body.decode()) as (port, pid):
                    if steady(once(port, PATH)) != expected:
                        raise BenchError(f"{server} answers something else: mend tests/bench/serve_servers.py")
                    runs.append(one_run(server, port, pid, asked, number))
                progress.advance(task)
    return runs


def assemble(runs: list[Run], asked: argparse.Namespace) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    figures = {server: _figures([run for run in runs if run.server == server]) for server in SERVERS}
    ours, peer = figures["tickcast"], figures["fastapi"]
    return {
        "name": "serve",
        "machine": machine.describe(),
        "figures": ours | {"access_us": asyncio.run(access_us())},
        "peer": {"name": f"FastAPI {version('fastapi')}", **peer},
        "ratio": round(ours["requests_per_s"] / peer["requests_per_s"], 2),
        "notes": {
            "path": PATH,
            "rate_per_s": RATE,
            "connections": asked.connections,
            "seconds": asked.seconds,
            "http": _parser(),
            "goals": {"latest_p99_ms": GOAL_P99_MS, "requests_per_s": GOAL_PER_S},
        },
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "runs": msgspec.to_builtins(runs),
    }


def _figures(runs: list[Run]) -> dict[str, float]:
    return {
        "requests_per_s": round(median(run.requests_per_s for run in runs)),
        "cpu_us": round(median(run.cpu_us for run in runs), 1),
        "latest_p50_ms": round(median(run.p50_ms for run in runs), 2),
        "latest_p99_ms": round(median(run.p99_ms for run in runs), 2),
    }


def _parser() -> str:
    """Say which HTTP parser uvicorn finds; both servers use the same."""
    try:
        return f"httptools {version('httptools')}"
    except ImportError:
        return f"h11 {version('h11')}"


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    notes = found["notes"]
    table = Table(title=f"GET {notes['path']}, one process on one core, {notes['http']}", title_justify="left")
    for name in ("server", "requests/s", "slowest .. fastest", "us of CPU", "p50 ms", "p99 ms at 500/s"):
        table.add_column(name, justify="left" if name == "server" else "right", no_wrap=True)
    for server, name in zip(SERVERS, ("tickcast", found["peer"]["name"]), strict=True):
        figures = found["figures"] if server == "tickcast" else found["peer"]
        speeds = [run["requests_per_s"] for run in found["runs"] if run["server"] == server]
        spread = f"{min(speeds):,.0f} .. {max(speeds):,.0f}"
        times = (f"{figures['cpu_us']:.0f}", f"{figures['latest_p50_ms']:.2f}", f"{figures['latest_p99_ms']:.2f}")
        table.add_row(name, f"{figures['requests_per_s']:,}", spread, *times)
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)
    costs = ", ".join(f"{us:g} us {who}" for who, us in found["figures"]["access_us"].items())
    console.print(f"{found['ratio']} times FastAPI; access layer: {costs} a request", highlight=False)
    goals = f"goals: over {GOAL_PER_S:,} requests/s, p99 under {GOAL_P99_MS:g} ms at {RATE:g}/s"
    console.print(goals, highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=serve", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each server (5)")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each part of a run (10)")
    parser.add_argument("--connections", type=int, default=32, help="kept connections (32)")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--quick", action="store_true", help="one short run of each: for a look, not for figures")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "serve.json", help="where the JSON goes")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.runs, asked.seconds, asked.wait_s = 1, 2.0, 0.0
    return asked


def main() -> int:
    asked = options()
    return finish(lambda console: assemble(measure(asked, console), asked), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
