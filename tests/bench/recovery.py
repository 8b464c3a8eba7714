"""Recovery speed: keys/s from a changelog into a wiped RocksDB folder, beside Faust's own recovery on the same topic.

Every run is a fresh process. The clock starts when the partitions are assigned and stops when Faust calls the table
recovered. Then every row of the folder is compared with what was sent; a run that differs does not count: the
benchmark fails. The last run of ours starts once more with its folder kept: that is the start of an intact worker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from redpanda.admin import connect
from redpanda.local import LocalBroker
from redpanda.local.checks import free_port
from redpanda.local.tether import tethered
from redpanda.settings import BrokerSettings
from tables import rocks
from tests.bench import machine, result
from tests.bench.command import finish
from tests.bench.stack import ROOT, BenchError
from tests.support.recovery_worker import topics
from tests.support.rows import publish_rows

SEED = 12
NAME = "bench"
SOURCE, CHANGELOG = topics(NAME)


class Run(msgspec.Struct, frozen=True):
    """One recovery."""

    kind: str
    """`ours` or `stock` (Faust's), with an empty folder; `intact` is ours with a full one."""
    value_bytes: int
    keys: int
    seconds: float
    """Partitions assigned to table recovered."""
    cpu_s: float
    """Processor time of the worker in that time, RocksDB's threads included."""
    process_s: float
    """Process started to table recovered."""
    busy_cores: float
    """Cores that others kept busy just before the run."""


def rows(keys: int, value_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """Give distinct keys; half of a value is noise and half of it packs well, about as rows of state do."""
    chance = random.Random(SEED)
    noise = chance.randbytes(1 << 16)
    half = value_bytes // 2
    for at in range(keys):
        start = chance.randrange(len(noise) - half)
        yield b"key-%012d" % at, noise[start : start + half].ljust(value_bytes, b".")


def fill(broker: BrokerSettings, keys: int, value_bytes: int) -> list[int]:
    """Put rows into a fresh changelog; gives the checksum of each partition."""
    made = {"num_partitions": broker.partitions, "replication_factor": 1}
    with connect(broker) as admin:
        admin.create_topics(
            {CHANGELOG: {**made, "configs": {"cleanup.policy": "compact"}}, SOURCE: made}, wait_for_metadata=True
        )
    sums = [0] * broker.partitions

    def counted() -> Iterator[tuple[int, bytes, bytes]]:
        for at, (key, value) in enumerate(rows(keys, value_bytes)):
            sums[at % len(sums)] ^= _checksum(key, value)
            yield at % len(sums), key, value

    publish_rows(broker, CHANGELOG, counted())
    return sums


def _checksum(key: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key))


def recover(broker: BrokerSettings, folder: Path, kind: str, keys: int, value_bytes: int) -> Run:
    """Run one recovery in a process of its own."""
    busy = machine.busy_cores(0.0)
    command = ["-m", "tests.support.recovery_worker", "stock" if kind == "stock" else "ours", str(folder), NAME]
    started_s = time.monotonic()
    with (folder.parent / f"{kind}.log").open("wb") as log:
        process = subprocess.Popen(
            tethered([sys.executable, *command]),
            cwd=ROOT,
            env={**os.environ, "TICKCAST_BROKER_URL": broker.broker_url},
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline() or b"{}")
        process_s = time.monotonic() - started_s
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]  # a pipe, see above
    if not told:
        raise BenchError(f"the recovery ended:\n{(folder.parent / f'{kind}.log').read_text()[-3_000:]}")
    return Run(kind, value_bytes, keys, told["seconds"], told["cpu_s"], process_s, busy)


def check(folder: Path, broker: BrokerSettings, keys: int, sums: list[int]) -> None:
    """Compare the folder with what was sent: every row, and the offset that it says to have reached."""
    found, rows_found = [0] * broker.partitions, 0
    for one in rocks.folders(folder / "v1" / "tables"):
        db = rocks.open_folder(one.path, read_only=True)
        for key, value in rocks.rows(db):
            found[one.partition] ^= _checksum(key, value)
            rows_found += 1
        reached = rocks.offset_of(db)
        db.close()
        expected = keys // broker.partitions + (one.partition < keys % broker.partitions) - 1
        if reached != expected:
            raise BenchError(f"partition {one.partition} says {reached} instead of {expected}")
    if found != sums or rows_found != keys:
        raise BenchError(f"the folder holds {rows_found:,} rows of {keys:,}, or other ones")


def measure(home: Path, asked: argparse.Namespace, console: Console) -> list[Run]:
    """Do all runs of all sizes, ours and the peer's by turns."""
    runs: list[Run] = []
    for value_bytes, keys in asked.sizes:
        (home / str(value_bytes)).mkdir()
        with LocalBroker(home / str(value_bytes), free_port()) as running:
            broker = BrokerSettings(broker_url=running.url)
            sums = fill(broker, keys, value_bytes)
            plan = ["ours", *(["stock"] if asked.peers else [])] * asked.runs + ["ours", "intact"]
            for kind in track(plan, f"{keys:,} keys of {value_bytes} B", console=console, transient=True):
                folder = home / "run"
                if kind != "intact":
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir()
                runs.append(recover(broker, folder, kind, keys, value_bytes))
                check(folder, broker, keys, sums)
        shutil.rmtree(home / str(value_bytes))
    return runs


def assemble(runs: list[Run]) -> dict[str, Any]:
    sizes = sorted({run.value_bytes for run in runs})

    def rates(kind: str) -> dict[str, int | None]:
        return {
            str(size): _median([r.keys / r.seconds for r in runs if (r.kind, r.value_bytes) == (kind, size)])
            for size in sizes
        }

    ours, stock = rates("ours"), rates("stock")
    first = str(sizes[0])
    return {
        "name": "recovery",
        "machine": machine.describe(),
        "figures": {
            "keys_per_s": ours,
            "mb_per_s": {size: round((rate or 0) * int(size) / 1e6) for size, rate in ours.items()},
            "intact_start_s": {str(r.value_bytes): round(r.process_s, 2) for r in runs if r.kind == "intact"},
        },
        "peer": {"name": "Faust's own recovery, same RocksDB settings", "keys_per_s": stock},
        "ratio": round(ours[first] / stock[first], 1) if ours[first] and stock[first] else None,  # type: ignore[operator]  # not None
        "runs": msgspec.to_builtins(runs),
    }


def _median(values: list[float]) -> int | None:
    return round(median(values)) if values else None


def show(found: dict[str, Any], console: Console) -> None:
    table = Table(title="recovery into a wiped folder, one worker, 4 partitions", title_justify="left")
    for name in ("value", "keys/s", "MB/s", "Faust keys/s", "intact start"):
        table.add_column(name, justify="right", no_wrap=True)
    figures = found["figures"]
    for size, rate in figures["keys_per_s"].items():
        peer = found["peer"]["keys_per_s"][size]
        table.add_row(
            f"{size} B",
            f"{rate:,}",
            f"{figures['mb_per_s'][size]:,}",
            f"{peer:,}" if peer else "-",
            f"{figures['intact_start_s'][size]} s",
        )
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench NAME=recovery", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=_sizes, default="100:400000,4096:50000", help="value bytes:keys, ...")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, ours and Faust's (5)")
    parser.add_argument("--no-peer", dest="peers", action="store_false", help="leave Faust's own recovery out")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "recovery.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def _sizes(text: str) -> list[tuple[int, int]]:
    pairs = (part.split(":") for part in text.split(","))
    return sorted((int(value_bytes), int(keys)) for value_bytes, keys in pairs)


def run(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do all runs and make the JSON result."""
    with tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder:
        return assemble(measure(Path(folder), asked, console))


def main() -> int:
    asked = options()
    return finish(lambda console: run(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
