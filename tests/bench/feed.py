"""The feed under load: many WebSocket clients on the loopback, each with so many updates a second.

The API process is the real one, fed by a real broker; its clients are two processes of their own. Delivery is from
just before the record is produced until the client has read the frame: producer, broker and the clients' own waiting
for a core are in it. The peer is the `websockets` library's `broadcast` on the same topic (tests/bench/feed_peer.py).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import psutil
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from api.settings import ApiSettings
from redpanda.local.checks import free_port
from redpanda.topics import CANDLES_LIVE
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.feed_clients import Plan, allow_files
from tests.bench.soak import Sample, slope
from tests.bench.stack import BenchError, Child, Stack, running
from tests.support.samples import candle
from tests.support.waiting import wait_for

GOAL_P99_MS: Final = 100.0
START_S: Final = 120.0
PROCESSES: Final = 2
PAIRS: Final = 4
WARM_S: Final = 3.0
ABOUT: Final = {"tickcast": "the API process", "websockets": "broadcast of the websockets library"}


class Run(msgspec.Struct, frozen=True):
    """One server under load."""

    job: str
    """A key of `ABOUT`."""
    clients: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    updates: int
    """Delivered (count)."""
    missing: int
    """By their sequence numbers (count)."""
    updates_per_s: float
    """Of one client."""
    cpu_cores: float
    """Of the server."""
    rss_mb: float
    rss_slope_mb_per_min: float
    busy_cores: float
    """Cores that others kept busy just before the run."""


class Bench:
    """The runs on one stack."""

    def __init__(self, stack: Stack, asked: argparse.Namespace, tell: Callable[[str], None]) -> None:
        self._stack, self._asked, self._tell = stack, asked, tell
        self._pairs = [f"BENCH{number}/USD" for number in range(PAIRS)]

    def fill(self) -> None:
        """Put so many updates into the topic that the API's rings are full from its start: flat memory is flat then."""
        asyncio.run(self._fill(ApiSettings().feed_ring + 100))

    async def _fill(self, count: int) -> None:
        async with _producing(self._stack) as producer:
            for number in range(count):
                for pair in self._pairs:
                    row = candle(0, pair, closed=False, quote_volume=number + 1.0)
                    await producer.send(CANDLES_LIVE, key=pair.encode(), value=msgspec.json.encode(row))

    def _server(self, job: str, port: int) -> Child:
        broker, log = self._stack.broker.broker_url, self._stack.home / f"{job}.log"
        if job == "websockets":
            return Child(["-m", "tests.bench.feed_peer", broker, str(port), CANDLES_LIVE], {}, log)
        most = str(self._asked.clients + 10)
        env = {
            "TICKCAST_API_PORT": str(port),
            "TICKCAST_HOME": str(self._stack.home / "run"),
            "TICKCAST_BROKER_URL": broker,
            "TICKCAST_CLICKHOUSE_URL": "clickhouse://127.0.0.1:9",
            "TICKCAST_PAIRS": ",".join(self._pairs),
            "TICKCAST_WS_CONNECTIONS_MAX": most,
            "TICKCAST_WS_CONNECTIONS_PER_ADDRESS_MAX": most,
        }
        return Child(["-m", "app.cli", "api"], env, log)

    def _clients(self, job: str, port: int, server: Child) -> list[tuple[Child, Path]]:
        found = []
        names = [self._pairs[number % PAIRS] for number in range(self._asked.clients)]
        for number in range(PROCESSES):
            out = self._stack.home / f"{job}-{number}.npz"
            file = out.with_suffix(".json")
            file.write_bytes(msgspec.json.encode(Plan(port, CANDLES_LIVE, names[number::PROCESSES], str(out))))
            found.append((Child(["-m", "tests.bench.feed_clients", str(file)], {}, out.with_suffix(".log")), out))

        def all_there() -> bool:
            server.check()
            for client, _ in found:
                client.check()
            return all(out.with_suffix(".ready").exists() for _, out in found)

        wait_for(all_there, START_S)
        return found

    def run(self, job: str) -> Run:
        """Load one server."""
        busy = machine.busy_cores(self._asked.wait_s)
        self._tell(f"{self._asked.clients:,} clients at {ABOUT[job]}")
        with ExitStack() as parts:
            port = free_port()
            server = self._server(job, port)
            parts.callback(server.stop)
            wait_for(lambda: _is_ready(server, port), START_S)
            clients = self._clients(job, port, server)
            for client, _ in clients:
                parts.callback(client.stop)
            samples, cpu_cores = asyncio.run(self._load(server))
            for client, _ in clients:
                client.signal(signal.SIGTERM)
            for client, _ in clients:
                client.finish(START_S, lambda: None)
        return self._figures(job, [out for _, out in clients], samples, cpu_cores, busy)

    async def _load(self, server: Child) -> tuple[list[Sample], float]:
        """Produce at the rate asked for; gives the server's memory and the cores that it used."""
        process = psutil.Process(server.pid)
        samples: list[Sample] = []
        async with _producing(self._stack) as producer:
            begin_s, used_s = time.monotonic(), machine.cpu_s(server.pid)
            step_s = 1 / (self._asked.rate * PAIRS)
            for number in range(int((self._asked.seconds + WARM_S) / step_s)):
                await asyncio.sleep(max(0.0, begin_s + number * step_s - time.monotonic()))
                pair = self._pairs[number % PAIRS]
                row = candle(0, pair, closed=False, quote_volume=time.time())
                await producer.send(CANDLES_LIVE, key=pair.encode(), value=msgspec.json.encode(row))
                if number % max(1, int(1 / step_s)) == 0:
                    server.check()
                    at_s = time.monotonic() - begin_s
                    samples.append(Sample(at_s, process.memory_info().rss // 1024, number))
            await producer.flush()
            spent_s = time.monotonic() - begin_s
            return samples, (machine.cpu_s(server.pid) - used_s) / spent_s

    def _figures(self, job: str, outs: list[Path], samples: list[Sample], cpu_cores: float, busy: float) -> Run:
        made, took, missing = [], [], 0
        for out in outs:
            with np.load(out) as found:
                made.append(found["made_s"])
                took.append(found["took_s"])
                missing += int(found["missing"])
        made_s, took_ms = np.concatenate(made), np.concatenate(took) * 1_000
        if not len(made_s):
            raise BenchError(f"no update came to a client of {ABOUT[job]}")
        warm = made_s >= made_s.min() + WARM_S
        made_s, took_ms = made_s[warm], took_ms[warm]
        per_min, _ = slope([one for one in samples if one.at_s >= WARM_S])
        p50, p99 = np.percentile(took_ms, [50, 99])
        span_s = float(made_s.max() - made_s.min())
        return Run(
            job=job,
            clients=self._asked.clients,
            p50_ms=round(float(p50), 2),
            p99_ms=round(float(p99), 2),
            max_ms=round(float(took_ms.max()), 2),
            updates=len(took_ms),
            missing=missing,
            updates_per_s=round(len(took_ms) / self._asked.clients / span_s, 2),
            cpu_cores=round(cpu_cores, 3),
            rss_mb=round(samples[-1].rss_kb / 1024, 1),
            rss_slope_mb_per_min=round(per_min / 1024, 3),
            busy_cores=busy,
        )


@asynccontextmanager
async def _producing(stack: Stack) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=stack.broker.broker_url, linger_ms=0)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def _is_ready(server: Child, port: int) -> bool:
    """Tell whether it takes subscriptions: until the API has caught up it closes at once."""
    server.check()
    try:
        return asyncio.run(_subscribes(port))
    except (OSError, TimeoutError):
        return False


async def _subscribes(port: int) -> bool:
    ask = msgspec.json.encode({"method": "subscribe", "params": {"channel": CANDLES_LIVE, "pairs": ["BENCH0/USD"]}})
    try:
        async with asyncio.timeout(5), connect(f"ws://127.0.0.1:{port}/v1/feed", proxy=None) as socket:
            await socket.send(ask.decode())
            while '"success":true' not in str(await socket.recv()):
                pass
    except WebSocketException:
        return False
    return True


def assemble(runs: list[Run], asked: argparse.Namespace) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10. The ratio is of p99: below 1 is sooner than the peer."""
    ours = next(run for run in runs if run.job == "tickcast")
    peer = next((run for run in runs if run.job == "websockets"), None)
    return {
        "name": "feed",
        "machine": machine.describe(),
        "figures": _shown(ours),
        "peer": None if peer is None else _shown(peer),
        "ratio": None if peer is None else round(ours.p99_ms / peer.p99_ms, 2),
        "notes": {"goal_p99_ms": GOAL_P99_MS, "seconds": asked.seconds, "rate": asked.rate, **ABOUT},
        "runs": msgspec.to_builtins(runs),
    }


def _shown(run: Run) -> dict[str, Any]:
    return {
        "clients": run.clients,
        "updates_per_s": run.updates_per_s,
        "delivery_p50_ms": run.p50_ms,
        "delivery_p99_ms": run.p99_ms,
        "delivery_max_ms": run.max_ms,
        "missing": run.missing,
        "cpu_cores": run.cpu_cores,
        "cpu_us_per_send": round(run.cpu_cores * 1e6 / (run.updates_per_s * run.clients), 1),
        "rss_mb": run.rss_mb,
        "rss_slope_mb_per_min": run.rss_slope_mb_per_min,
    }


def fault(found: dict[str, Any]) -> str:
    """Say what a result is not good for."""
    figures, rate = found["figures"], found["notes"]["rate"]
    if figures["missing"]:
        return f"{figures['missing']} updates did not come"
    if figures["updates_per_s"] < 0.95 * rate:
        return f"{figures['updates_per_s']} updates/s came to a client of {rate:g}"
    return ""


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    rows = {"tickcast": found["figures"], "websockets": found["peer"]}
    table = Table(title=f"feed: {found['figures']['clients']:,} clients", title_justify="left")
    for name in ("server", "updates/s", "p50", "p99", "max", "cores", "us a send", "memory", "slope"):
        table.add_column(name, justify="left" if name == "server" else "right", no_wrap=True)
    for job, one in rows.items():
        if one is not None:
            times = (f"{one[f'delivery_{name}_ms']:.1f} ms" for name in ("p50", "p99", "max"))
            memory = (f"{one['rss_mb']:.0f} MB", f"{one['rss_slope_mb_per_min']:+.2f} MB/min")
            load = (f"{one['cpu_cores']:.2f}", f"{one['cpu_us_per_send']:.1f}")
            table.add_row(job, f"{one['updates_per_s']:.1f}", *times, *load, *memory)
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=feed", description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=2_000, help="WebSocket clients (2,000)")
    parser.add_argument("--rate", type=float, default=10.0, help="updates/s of each (10)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--quick", action="store_true", help="50 clients for 6 s, no wait")
    parser.add_argument("--without-peer", action="store_true", help="only our own")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "feed.json", help="where the JSON goes")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.clients, asked.seconds, asked.wait_s = 50, 6.0, 0.0
    return asked


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do all runs."""
    allow_files()
    jobs = [job for job in ABOUT if job == "tickcast" or not asked.without_peer]
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder,
        running(Path(folder), with_store=False) as stack,
    ):
        stack.reset()
        bench = Bench(stack, asked, lambda text: console.print(text, highlight=False))
        bench.fill()
        return assemble([bench.run(job) for job in jobs], asked)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out, fault=fault)


if __name__ == "__main__":
    sys.exit(main())
