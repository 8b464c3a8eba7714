"""Replay speed: trades/s from topic `trades` to candles and ClickHouse, beside Quix Streams on the same records.

Every run is a fresh worker process on a topic that is already full. The clock starts when the process sees its first
trade and stops at the broker's append time of its last output record; for ClickHouse, when the insert of the last
candle has returned. A run whose candles differ from the batch recompute does not count: the benchmark fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from redpanda.topics import CANDLES
from tables.clickhouse.columns import TABLES
from tables.clickhouse.rows import insert_candles
from tests.bench import machine, quix_peer, result
from tests.bench.command import SHARED, finish
from tests.bench.recording import Recording, bars_of, candles_of, envelopes, load
from tests.bench.result import Run
from tests.bench.stack import BenchError, Child, Stack, running

FILE = SHARED / "trades/kraken_2018_andr3w321.csv.gz"
EXPECTED = "bench_expected"
COLUMNS = ", ".join(column.name for column in TABLES["candles"] if column.name not in ("closed_by", "source", "as_of"))
SENTENCES = {
    "unit": "trades per second, median of the runs",
    "clock": "first trade seen by the worker to the append time of its last output record; "
    "to_store: to the return of the last insert into ClickHouse",
    "fairness": "Quix makes one timeframe from 1-trade records and stores nothing. tickcast makes six, fills "
    "silent minutes and writes both to ClickHouse in the same process (candles_only: without that). Quix current() "
    "sends one record a trade, tickcast one a closed candle, as final() does.",
}


class Bench:
    """The runs on one stack, and their progress."""

    def __init__(
        self, stack: Stack, recording: Recording, progress: Progress, wait_s: float, market: str = "recorded"
    ) -> None:
        self.runs: list[Run] = []
        self._market = market
        self._stack = stack
        self._recording = recording
        self._progress = progress
        self._wait_s = wait_s
        self._total = len(recording.trades)
        self._minutes = 0
        self._candles = 0

    @contextmanager
    def _step(self, label: str, total: int) -> Iterator[Any]:
        task = self._progress.add_task(label, total=total)
        yield lambda done: self._progress.update(task, completed=done)
        self._progress.remove_task(task)

    def recompute(self) -> None:
        """Put the candles of the batch recompute into the store, where every run is compared with them."""
        client = self._stack.database(EXPECTED)
        with self._step("recompute all candles", len(self._recording.pairs)) as tell:
            for done, pair in enumerate(self._recording.pairs, 1):
                candles = candles_of(pair, bars_of(self._recording, pair))
                self._candles += len(candles)
                self._minutes += sum(one.timeframe == "1m" and not one.synthetic for one in candles)
                if self._market != "recorded":
                    continue  # these runs store nothing
                for at in range(0, len(candles), 100_000):
                    insert_candles(client, candles[at : at + 100_000], f"{pair}-{at}")
                tell(done)
        client.close()

    def fill(self, size: int) -> None:
        """Fill the topic with envelopes of `size` trades."""
        with self._step(f"fill the topic, {size} a record", self._total) as tell:
            self._stack.fill(envelopes(self._recording, size), tell)

    def ours(self, size: int, label: str, *, stored: bool = True) -> None:
        """Run one tickcast worker over the topic."""
        self._stack.reset()
        database = f"bench_{self._market}_{len(self.runs)}"
        client = self._stack.database(database)
        busy = machine.busy_cores(self._wait_s)
        worker = self._stack.worker(database, "candles,sinks" if stored else "candles")
        total = self._total + self._candles * stored
        what = "tickcast" if stored else "tickcast without the sink"
        try:
            with self._step(f"{what}, {size} a record, {label}", total) as tell:
                worker.wait_until(partial(self._progressed, worker), total, tell)
            status = self._stack.status(worker)
        finally:
            worker.stop()
        outputs, last_ms = self._stack.records(CANDLES), self._stack.last_append_ms(CANDLES)
        self._check(outputs, self._candles, what)
        if stored:
            self._compare(client)
        client.command(f"DROP DATABASE `{database}`", use_database=False)
        client.close()
        detail = status.detail if status else {}
        first_ns = _mark(detail, "first_at_ns", "candles")
        self.runs.append(
            Run(
                job="tickcast" if stored else "candles-only",
                envelope=size,
                trades=self._total,
                seconds=last_ms / 1e3 - first_ns / 1e9,
                to_store_seconds=(_mark(detail, "last_at_ns", f"sink-{CANDLES}") - first_ns) / 1e9 if stored else None,
                outputs=outputs,
                busy_cores=busy,
                market=self._market,
            )
        )

    def _progressed(self, worker: Child) -> int:
        status = self._stack.status(worker)
        counters = status.counters if status else {}
        return counters.get("trades", 0) + counters.get("stored_candles", 0)

    def _check(self, records: int, expected: int, what: str) -> None:
        if records != expected:
            raise BenchError(f"{what} made {records:,} records instead of {expected:,}")

    def _compare(self, client: Any) -> None:
        """Compare what is stored with the recompute, to the last bit and both ways."""
        ours, theirs = (f"SELECT {COLUMNS} FROM {table} FINAL" for table in ("candles", f"{EXPECTED}.candles"))  # noqa: S608  # constants
        unexpected, missing = f"({ours} EXCEPT {theirs})", f"({theirs} EXCEPT {ours})"
        wrong, lacking, rows = (
            client.query("SELECT count() FROM " + query).result_rows[0][0]  # noqa: S608  # constants
            for query in (unexpected, missing, f"({ours})")
        )
        if wrong or lacking or rows != self._candles:
            found, right = (
                client.query("SELECT * FROM " + query + " ORDER BY ALL LIMIT 2").result_rows  # noqa: S608  # constants
                for query in (unexpected, missing)
            )
            raise BenchError(
                f"of {self._candles:,} candles {lacking:,} are missing, and {wrong:,} of {rows:,} in ClickHouse are "
                f"wrong: {found} instead of {right}"
            )

    def peer(self, emit: str, label: str) -> None:
        """Run Quix Streams over the topic."""
        self._stack.reset()
        output, folder = f"quix-{emit}", self._stack.home / "run"
        expected = self._total if emit == "current" else self._minutes
        self._stack.create_topic(output)
        busy = machine.busy_cores(self._wait_s)
        command = ["-m", "tests.bench.quix_peer", self._stack.broker.broker_url, output, str(folder), emit]
        quix = Child(command, {}, folder / "quix.log")
        try:
            with self._step(f"Quix {emit}(), {label}", expected) as tell:
                quix.wait_until(lambda: self._stack.records(output), expected, tell)
        finally:
            quix.stop()
        outputs = self._stack.records(output)
        self._check(outputs, expected, f"Quix {emit}()")
        first_ns = int((folder / "started").read_text())
        seconds = self._stack.last_append_ms(output) / 1e3 - first_ns / 1e9
        self.runs.append(Run(emit, 1, self._total, seconds, None, outputs, busy, self._market))


def _mark(detail: dict[str, Any], name: str, stage: str) -> int:
    """Read one of the worker's own clock marks."""
    try:
        return int(detail[name][stage])
    except KeyError as error:
        raise BenchError(f"the worker's status lacks {error}") from error


def measure(bench: Bench, sizes: list[int], runs: dict[int, int], peers: list[str]) -> None:
    """Do all runs; at one trade a record ours and the peer's take turns, so that both see the same machine."""
    bench.recompute()
    for size in sizes:
        bench.fill(size)
        for at in range(runs[size]):
            label = f"run {at + 1} of {runs[size]}"
            bench.ours(size, label)
            bench.ours(size, label, stored=False)
            for emit in peers if size == 1 else ():
                bench.peer(emit, label)


def measure_busy(bench: Bench, sizes: list[int], runs: dict[int, int], peers: list[str]) -> None:
    """Do the runs on squeezed times: candles alone, and the peer's nearest job."""
    bench.recompute()
    for size in sizes:
        bench.fill(size)
        for at in range(runs[size]):
            label = f"busy market, run {at + 1} of {runs[size]}"
            bench.ours(size, label, stored=False)
            if size == 1 and "current" in peers:
                bench.peer("current", label)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench NAME=replay", description=__doc__.partition("\n")[0])
    parser.add_argument("--file", type=Path, default=FILE, help="recorded trades (CSV, CSV.gz, Parquet)")
    parser.add_argument("--runs", type=int, default=5, help="runs at one trade a record and of the peer (5)")
    parser.add_argument("--runs-large", type=int, help="runs at the other sizes (as --runs)")
    parser.add_argument("--sizes", default="1,5,50,1000", help="trades a record (1,5,50,1000)")
    parser.add_argument("--peers", default="current,final", help="of Quix Streams; empty for none (current,final)")
    parser.add_argument("--repeats", type=int, default=3, help="times the file is played, with shifted times (3)")
    parser.add_argument(
        "--squeeze", type=int, default=60, help="seconds of the file that are one of the busy market; 0: none (60)"
    )
    parser.add_argument(
        "--wait-quiet-s", type=float, default=60, help="at most, before a run, for a quiet machine (60)"
    )
    parser.add_argument("--trades", type=int, help="only the first trades of the file, for a quick look")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "replay.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def run(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the benchmark and give its result."""
    sizes = [int(size) for size in asked.sizes.split(",")]
    peers = [emit for emit in asked.peers.split(",") if emit]
    runs = {size: asked.runs if size == 1 else asked.runs_large or asked.runs for size in sizes}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    with (
        tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder,
        Progress(*columns, TimeElapsedColumn(), console=console, transient=True, refresh_per_second=2) as progress,
    ):
        start = progress.add_task("read the trades, start broker and store", total=None)
        recording = load(asked.file, asked.repeats, asked.trades)
        with running(Path(folder)) as stack:
            progress.remove_task(start)
            bench = Bench(stack, recording, progress, asked.wait_quiet_s)
            measure(bench, sizes, runs, peers)
            done = bench.runs
            if asked.squeeze:
                dense = load(asked.file, asked.repeats, asked.trades, asked.squeeze)
                busy = Bench(stack, dense, progress, asked.wait_quiet_s, "busy")
                measure_busy(busy, sizes, runs, peers)
                done = done + busy.runs
    notes = {
        "file": asked.file.name,
        "trades": len(recording.trades),
        "repeats": recording.repeats,
        "repeated": f"the file {recording.repeats} times, each time behind the last by whole days and with ids "
        f"continued, and one closing trade a pair ({', '.join(recording.pairs)})",
        "busy_market": f"the same trades with {asked.squeeze} seconds in one: few candles for many trades",
        **SENTENCES,
    }
    facts = {"name": "Quix Streams", "settings": quix_peer.SETTINGS}
    return result.assemble(machine.describe(), done, notes, facts)


def main() -> int:
    asked = options()
    return finish(lambda console: run(asked, console), result.show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
