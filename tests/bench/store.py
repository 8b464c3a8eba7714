"""Store: feature rows a second into the local ClickHouse, and the latest 500 of a pair among a million.

The product's own path: records through `tables.clickhouse.rows.insert_features`, 20,000 a batch as the sink cuts them,
two writers as of two partitions, and done when the store has acknowledged the last batch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from agents.sinks import MAX_BATCH_ROWS
from tables.clickhouse import migrate, rows
from tables.clickhouse.client import connect
from tables.clickhouse.columns import TABLES
from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.records import MINUTE_MS, Features
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.stack import BenchError
from tests.support.feature_columns import noise_candles
from tests.support.samples import START_MS, features
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

WRITERS: Final = 2
GOALS: Final = {"insert_rows_per_s": 100_000, "latest_500_p99_ms": 50.0}
LATEST: Final = (
    "SELECT * FROM features FINAL WHERE pair = {pair:String} AND timeframe = '1m' ORDER BY open_time DESC LIMIT 500"
)
BYTES: Final = (
    "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts "
    "WHERE active AND database = currentDatabase() AND table = 'features'"
)


class Run(msgspec.Struct, frozen=True):
    """One pass of inserts."""

    rows: int
    seconds: float
    client_cpu_us: float
    store_cpu_us: float
    """Processor time a row (µs) of the writers and of the store."""
    busy_cores: float
    """Cores that others kept busy just before the run."""


def records(count: int) -> list[Features]:
    """Make `count` bars with the indicators of a simulated market."""
    bars = noise_candles(count, seed=1)
    matrix = feature_matrix({**bars, "quote_volume": bars["close"] * bars["volume"]}, MINUTE_MS)
    return [
        features(
            at,
            open=float(bars["open"][at]),
            close=float(bars["close"][at]),
            volume=float(bars["volume"][at]),
            values=dict(zip(FEATURE_NAMES, map(float, line), strict=True)),
        )
        for at, line in enumerate(np.nan_to_num(matrix))
    ]


def batch_of(made: list[Features], writer: int, number: int) -> list[Features]:
    """Give the records the pair of a writer and the minutes of a batch, later for each number."""
    start_ms = START_MS + number * len(made) * MINUTE_MS
    return [
        msgspec.structs.replace(row, pair=f"P{writer}/USD", open_ms=start_ms + at * MINUTE_MS, as_of_ms=number)
        for at, row in enumerate(made)
    ]


def one_run(store: StoreProcess, clients: list[Client], made: list[Features], batches: range) -> Run:
    """Insert the batches of all writers at once."""
    assert store.process is not None
    ready = [[batch_of(made, writer, number) for number in batches] for writer in range(len(clients))]
    busy = machine.busy_cores(0)
    before = time.process_time(), machine.cpu_s(store.process.pid)

    def write(writer: int) -> int:
        sent = 0
        for number, batch in zip(batches, ready[writer], strict=True):
            sent += rows.insert_features(clients[writer], batch, f"features-{writer}-{number}")
        return sent

    started_s = time.perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        total = sum(pool.map(write, range(len(clients))))
    seconds = time.perf_counter() - started_s
    used = time.process_time() - before[0], machine.cpu_s(store.process.pid) - before[1]
    client_us, store_us = (round(cpu / total * 1e6, 2) for cpu in used)
    return Run(total, round(seconds, 3), client_us, store_us, busy)


def latest(client: Client, count: int) -> list[float]:
    """Time the query of the latest 500 rows with all columns (ms each)."""
    times = []
    for at in range(count):
        started_s = time.perf_counter()
        found = client.query(
            LATEST,
            parameters={"pair": f"P{at % WRITERS}/USD"},
            settings={"do_not_merge_across_partitions_select_final": 1},
        )
        times.append((time.perf_counter() - started_s) * 1000)
        if found.row_count != 500:
            raise BenchError(f"the query gave {found.row_count} rows")
    return times


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Fill the store run by run, then read."""
    made = records(min(MAX_BATCH_ROWS, asked.batch))
    per_run = max(1, asked.rows // (asked.runs * WRITERS * len(made)))
    with tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder:
        store = StoreProcess(Path(folder))
        store.start()
        try:
            clients = [connect(store.settings()) for _ in range(WRITERS)]
            migrate.apply(clients[0])
            rows.insert_features(clients[0], batch_of(made[:10], 9, 0), "warm")  # the first one loads the engine
            machine.busy_cores(asked.wait_s)
            runs = []
            for at in range(asked.runs):
                console.print(f"inserts, run {at + 1} of {asked.runs}", style="dim")
                runs.append(one_run(store, clients, made, range(at * per_run, (at + 1) * per_run)))
            stored = clients[0].query("SELECT count() FROM features WHERE pair != 'P9/USD'").result_rows[0][0]
            if stored != sum(run.rows for run in runs):
                raise BenchError(f"{stored} rows are stored of {sum(run.rows for run in runs)}")
            bytes_per_row = clients[0].query(BYTES).result_rows[0][0]
            times = latest(clients[0], asked.queries)
            for client in clients:
                client.close()
        finally:
            store.stop()
    return assemble(runs, times, stored, bytes_per_row)


def assemble(runs: list[Run], times: list[float], stored: int, bytes_per_row: float) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    return {
        "name": "store",
        "machine": machine.describe(),
        "figures": {
            "insert_rows_per_s": round(float(np.median([run.rows / run.seconds for run in runs]))),
            "latest_500_p99_ms": round(float(np.percentile(times, 99)), 1),
            "latest_500_p50_ms": round(float(np.median(times)), 1),
            "rows": stored,
            "columns": len(TABLES["features"]),
            "bytes_per_row": round(bytes_per_row, 1),
        },
        "peer": None,
        "ratio": None,
        "notes": {"goals": GOALS, "writers": WRITERS, "query": LATEST},
        "runs": msgspec.to_builtins(runs),
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    figures = found["figures"]
    table = Table(
        title=f"local store: {figures['rows']:,} feature rows of {figures['columns']} columns", title_justify="left"
    )
    for name in ("what", "figure", "goal"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    table.add_row("rows a second", f"{figures['insert_rows_per_s']:,}", f"> {GOALS['insert_rows_per_s']:,}")
    table.add_row("latest 500, p99 (ms)", f"{figures['latest_500_p99_ms']}", f"< {GOALS['latest_500_p99_ms']:g}")
    table.add_row("latest 500, p50 (ms)", f"{figures['latest_500_p50_ms']}", "")
    table.add_row("bytes a row on disk", f"{figures['bytes_per_row']}", "")
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=store", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows over all runs (1,000,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of inserts (5)")
    parser.add_argument("--batch", type=int, default=MAX_BATCH_ROWS, help=f"rows a batch ({MAX_BATCH_ROWS:,})")
    parser.add_argument("--queries", type=int, default=500, help="queries (500)")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--quick", action="store_true", help="8,000 rows, 2 runs, 20 queries, no waiting")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "store.json", help="where the JSON goes")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.rows, asked.runs, asked.batch, asked.queries, asked.wait_s = 8_000, 2, 2_000, 20, 0.0
    return asked


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
