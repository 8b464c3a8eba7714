"""Ingest speed: pages of history and live frames into a real broker, beside cryptofeed's decoding of the same trades.

Backfill: REST pages in memory, decoded, through the pair's ledger, published in envelopes; the clock stops when the
broker has acknowledged all. Live: a sender in a process of its own floods the ingest service, another process, with
single-trade frames over loopback; from the first frame to the append time of the last record. Every run must
have every id once and in order in the topic, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agents.trades.continuity import PairLedger
from agents.trades.exchanges.kraken import decode_frame, decode_page
from agents.trades.publish import Publisher, open_producer
from agents.trades.source import Batch
from redpanda.local.checks import free_port
from redpanda.settings import BrokerSettings
from redpanda.tail import last_records
from redpanda.topics import TRADES
from tables.records import Trade
from tables.status import read_status
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.ingest_parts import frames_v2, pages
from tests.bench.ingest_sender import Plan
from tests.bench.stack import BenchError, Child, Stack, running
from tests.support.waiting import wait_for

PEER_FILE: Final = Path(__file__).parent / "cryptofeed_peer.py"
GOALS: Final = {"backfill_trades_per_s": 200_000, "live_frames_per_s": 20_000}
PAGE_ROWS: Final = 1_000
MAX_IN_FLIGHT: Final = 100_000
LINGER_MS: Final = 10
EVERYTHING: Final = 1 << 60
SOAK_S: Final = 1_800.0
NOTES: Final = (
    "Sender, ingest service and broker share the cores. cryptofeed decodes only: no socket, no check of ids, nothing "
    "published; it speaks WebSocket v1, so it gets the same trades in frames of v1."
)


class Run(msgspec.Struct, frozen=True):
    """One run."""

    job: str
    """`backfill` or `live`."""
    trades: int
    seconds: float
    cpu_s: float
    """Processor time of the process that ingests."""
    busy_cores: float
    """Cores that others kept busy just before the run."""


class Bench:
    """The runs on one stack. Each has a pair of its own, so that none goes on behind another."""

    def __init__(self, stack: Stack, asked: argparse.Namespace) -> None:
        self._stack, self._asked = stack, asked
        self.runs: list[Run] = []

    def backfill(self) -> None:
        """Decode and publish pages in this process."""
        pair = f"BF{len(self.runs)}/USD"
        bodies = pages(pair, 1, self._asked.pages)
        busy = machine.busy_cores(self._asked.wait_s)
        cpu_s = time.process_time()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            seconds = runner.run(_backfill(self._stack.broker, pair, bodies))
        self._note("backfill", pair, len(bodies) * PAGE_ROWS, seconds, time.process_time() - cpu_s, busy)

    def live(self) -> None:
        """Flood the service over a socket."""
        pair, count, home = f"LV{len(self.runs)}/USD", self._asked.frames, self._stack.home
        out, port = home / f"sender-{len(self.runs)}.out", free_port()
        plan = home / "plan.json"
        plan.write_bytes(msgspec.json.encode(Plan(port, pair, count, 0.0, str(out))))
        busy = machine.busy_cores(self._asked.wait_s)
        sender = Child(["-m", "tests.bench.ingest_sender", str(plan)], {}, home / "sender.log")
        wait_for(lambda: listens(port), 60.0)
        service = Child(["-m", "app.cli", "ingest"], service_env(self._stack, pair, port), home / "ingest.log")
        try:
            service.wait_until(lambda: published(home, service), count, lambda _: None)
            cpu_s = machine.cpu_s(service.pid)
        finally:
            service.stop()
            sender.stop()
        last_ms = max(row.timestamp_ms for row in _rows(self._stack.broker, pair))
        seconds = last_ms / 1e3 - int(out.read_text()) / 1e9
        self._note("live", pair, count, seconds, cpu_s, busy)

    def _note(self, job: str, pair: str, trades: int, seconds: float, cpu_s: float, busy: float) -> None:
        found = [
            trade.trade_id
            for row in _rows(self._stack.broker, pair)
            for trade in msgspec.json.decode(row.value or b"", type=list[Trade])
        ]
        if found != list(range(1, trades + 1)):
            raise BenchError(f"{job}: {len(found):,} trades in the topic instead of {trades:,}, or in another order")
        self.runs.append(Run(job, trades, round(seconds, 4), round(cpu_s, 3), busy))


def _rows(broker: BrokerSettings, pair: str) -> list[Any]:
    rows = [row for part in last_records(broker, TRADES, EVERYTHING).values() for row in part]
    return [row for row in rows if row.key == pair.encode()]


async def _backfill(broker: BrokerSettings, pair: str, bodies: list[bytes]) -> float:
    publisher = Publisher(await asyncio.to_thread(open_producer, broker), LINGER_MS, MAX_IN_FLIGHT)
    ledger = PairLedger()
    ledger.anchor(1)
    started_s = time.perf_counter()
    for body in bodies:
        page = decode_page(body, pair, time.time_ns(), "sim")
        await publisher.publish(Batch(pair, ledger.offer(page.trades), page.refusals))
    await publisher.drain()
    took_s = time.perf_counter() - started_s
    await publisher.close(5.0)
    return took_s


def listens(port: int) -> bool:
    """Tell whether the sender is there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def service_env(stack: Stack, pair: str, port: int) -> dict[str, str]:
    """Give the environment of an ingest service whose exchange is the sender on `port`."""
    return {
        "TICKCAST_HOME": str(stack.home),
        "TICKCAST_BROKER_URL": stack.broker.broker_url,
        "TICKCAST_SOURCE": "sim",
        "TICKCAST_SIM_PORT": str(port),
        "TICKCAST_INGEST_PORT": str(free_port()),
        "TICKCAST_PAIRS": pair,
        "TICKCAST_SINCE": "0",
    }


def published(home: Path, service: Child) -> int:
    """Count the trades that the service has had acknowledged."""
    return told(home, service)[0]


def told(home: Path, service: Child) -> tuple[int, int]:
    """Give that count and when the service told it (ms): it does so about once a second."""
    service.check()
    status = read_status(home, "ingest")
    if status is None or status.pid != service.pid:
        return 0, 0
    return status.counters.get("published", 0), status.at_ms


def peer(asked: argparse.Namespace) -> dict[str, Any]:
    """Run cryptofeed in its own environment; says why where it cannot."""
    if asked.peer_python is None:
        return {"frames_per_s": None, "why": "give --peer-python: a Python with cryptofeed installed"}
    command = [str(asked.peer_python), str(PEER_FILE), str(asked.frames), str(asked.runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        return {"frames_per_s": None, "why": done.stderr.strip()[-500:]}
    told = json.loads(done.stdout)
    return {
        "name": f"cryptofeed {told['version']}, Kraken.message_handler, decoding alone",
        "frames_per_s": round(median(told["frames_per_s"])),
        "runs": [round(rate) for rate in told["frames_per_s"]],
    }


def decode_alone(frames: int, runs: int) -> int:
    """Decode the peer's trades as we do, and nothing else (frames/s)."""
    known, at_ns = frozenset(["XBT/USD"]), time.time_ns()
    made = [frame.decode() for frame in frames_v2("XBT/USD", 1, frames, at_ns)]
    rates = []
    for _ in range(runs):
        started_s = time.perf_counter()
        seen = sum(len(decode_frame(frame, known, at_ns, "sim").trades) for frame in made)
        rates.append(seen / (time.perf_counter() - started_s))
    return round(median(rates))


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do all runs and make the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder,
        running(Path(folder), with_store=False) as stack,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        stack.reset()
        bench = Bench(stack, asked)
        task = progress.add_task("backfill", total=2 * asked.runs + 2)
        for step in (bench.backfill, bench.live):
            for _ in range(asked.runs):
                progress.update(task, description=step.__name__)
                step()
                progress.advance(task)
        progress.update(task, description="cryptofeed")
        peers = peer(asked)
        ours_alone = decode_alone(asked.frames, asked.runs)
        progress.advance(task, 2)
    figures: dict[str, Any] = {
        "backfill_trades_per_s": _rate(bench.runs, "backfill"),
        "live_frames_per_s": _rate(bench.runs, "live"),
        "decode_frames_per_s": ours_alone,
        "rss_slope_mb_per_h": _slope(),
    }
    other = peers["frames_per_s"]
    return {
        "name": "ingest",
        "machine": machine.describe(),
        "figures": figures,
        "goals": GOALS,
        "peer": peers,
        "ratio": round(ours_alone / other, 2) if other else None,
        "notes": NOTES,
        "frames": asked.frames,
        "pages": asked.pages,
        "runs": msgspec.to_builtins(bench.runs),
    }


def _rate(runs: list[Run], job: str) -> int:
    return round(median(run.trades / run.seconds for run in runs if run.job == job))


def _slope() -> float | None:
    """Give what the last soak found, if it was long enough to tell more than the warm-up."""
    file = result.RESULTS / "soak.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"seconds": 0}
    return found["figures"]["rss_slope_mb_per_h"] if found["seconds"] >= SOAK_S else None


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title=f"ingest: medians of {len(found['runs']) // 2} runs", title_justify="left")
    for name in ("what", "per second", "goal", "slowest .. fastest"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    figures = found["figures"]
    for job, key in (("backfill", "backfill_trades_per_s"), ("live", "live_frames_per_s")):
        rates = [run["trades"] / run["seconds"] for run in found["runs"] if run["job"] == job]
        table.add_row(job, f"{figures[key]:,}", f"{GOALS[key]:,}", f"{min(rates):,.0f} .. {max(rates):,.0f}")
    table.add_row("decoding alone", f"{figures['decode_frames_per_s']:,}", "-", "-")
    theirs = found["peer"]["frames_per_s"]
    table.add_row("cryptofeed, decoding alone", f"{theirs:,}" if theirs else "-", "-", "-")
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)
    if not theirs:
        console.print(f"no peer: {found['peer']['why']}", markup=False, soft_wrap=True)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=ingest", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--pages", type=int, default=400, help="pages of 1,000 trades a run (400)")
    parser.add_argument("--frames", type=int, default=200_000, help="single-trade frames a run (200,000)")
    parser.add_argument("--peer-python", type=Path, help="a Python that has cryptofeed (none: no peer)")
    parser.add_argument("--wait-s", type=float, default=30.0, help="wait so long for a quiet machine (30)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "ingest.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
