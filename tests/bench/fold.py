"""Fold: what one trade costs the candles stage without broker and table, step by step, in both markets.

Batches as the broker sends them are taken as the worker takes them, decoded, folded and encoded; nothing waits for
anything. The candles must be as many as the recompute has. aiokafka's own way to hand over what it fetched is timed
beside ours.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from faust.types import TP
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agents.chunk import Chunk
from agents.send import encode
from agents.stage import Decoder
from app.worker import calm_collector
from redpanda.topics import TRADES
from tables.candles import CandleRules, PairCandles
from tables.records import DeadLetter, Trade
from tests.bench import machine, result
from tests.bench.command import SHARED, finish
from tests.bench.recording import Recording, bars_of, candles_of, envelopes, load
from tests.bench.stack import BenchError
from tests.support.fetched import LZ4, batch_of, fetched

FILE: Final = SHARED / "trades/kraken_2018_andr3w321.csv.gz"
STEPS: Final = ("take", "chunk", "decode", "fold", "settle", "encode")
FOREVER_NS: Final = 1 << 62
BATCH_BYTES: Final = 1 << 20


class Clock:
    """Adds up seconds by step."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*STEPS, "take_aiokafka"), 0.0)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """Add the time of the block to the step."""
        started = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - started


def batches(recording: Recording, size: int) -> list[bytes]:
    """Give what a broker would send, one pair a partition."""
    found: list[bytes] = []
    waiting: dict[str, list[tuple[int, bytes, bytes | None]]] = {pair: [] for pair in recording.pairs}
    filled = dict.fromkeys(recording.pairs, 0)
    for pair, trades in envelopes(recording, size):
        value = encode(trades)
        waiting[pair].append((len(waiting[pair]), pair.encode(), value))
        filled[pair] += len(value)
        if filled[pair] >= BATCH_BYTES:
            found.append(batch_of(0, waiting[pair], LZ4))
            waiting[pair], filled[pair] = [], 0
    return found + [batch_of(0, records, LZ4) for records in waiting.values() if records]


def blocks_of(chunk: Chunk, decoder: Decoder[list[Trade]], letters: list[DeadLetter], clock: Clock) -> Iterator[Any]:
    """Give the decoded blocks, each decoded within the clock's time."""
    blocks = decoder.blocks(chunk, "bench", letters)
    while True:
        with clock.of("decode"):
            block = next(blocks, None)
        if block is None:
            return
        yield block


def one_run(recording: Recording, log: list[bytes]) -> tuple[Clock, int]:
    """Fold the whole log once; gives the times and the number of candles."""
    clock, candles = Clock(), 0
    decoder: Decoder[list[Trade]] = Decoder(list[Trade])
    folds = {pair: PairCandles(pair, CandleRules(), dict[bytes, bytes]().get) for pair in recording.pairs}
    for at, batch in enumerate(log):
        theirs, _ = fetched(batch, 0, quick=False)
        with clock.of("take_aiokafka"):
            theirs.getall()
        ours, _ = fetched(batch, 0, quick=True)
        with clock.of("take"):
            records = ours.getall()
        with clock.of("chunk"):
            chunk = Chunk(TP(TRADES, 0), records, 1, 1)
        letters: list[DeadLetter] = []
        fold: PairCandles | None = None
        for block in blocks_of(chunk, decoder, letters, clock):
            trades = [trade for _, envelope in block for trade in envelope]
            fold = folds[trades[0].pair]
            with clock.of("fold"):
                fold.apply(trades, FOREVER_NS, at + 1)
        if letters or fold is None:
            raise BenchError(f"a batch could not be decoded: {letters}")
        with clock.of("settle"):
            output = fold.settle()
        with clock.of("encode"):
            candles += len([encode(candle) for candle in output.candles])
    return clock, candles


def market(asked: argparse.Namespace, squeeze: int, console: Console) -> dict[str, Any]:
    """Measure one market; µs a trade by step, medians of the runs."""
    recording = load(asked.file, asked.repeats, asked.trades, squeeze)
    log = batches(recording, asked.size)
    expected = sum(len(candles_of(pair, bars_of(recording, pair))) for pair in recording.pairs)
    runs: list[dict[str, float]] = []
    for _ in track(range(asked.runs), f"{squeeze} s in one", console=console, transient=True):
        clock, candles = one_run(recording, log)
        if candles != expected:
            raise BenchError(f"the fold made {candles:,} candles instead of {expected:,}")
        runs.append({step: 1e6 * spent / len(recording.trades) for step, spent in clock.seconds.items()})
    us = {step: round(median(run[step] for run in runs), 3) for step in runs[0]}
    return {
        "trades": len(recording.trades),
        "candles": expected,
        "us_per_trade": {step: us[step] for step in STEPS},
        "us_per_trade_sum": round(sum(us[step] for step in STEPS), 3),
        "take_aiokafka_us_per_trade": us["take_aiokafka"],
    }


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure both markets."""
    if not asked.file.exists():
        raise BenchError(f"{asked.file} is missing: give --file, or set TICKCAST_SHARED_DATA")
    calm_collector()
    busy = machine.busy_cores(asked.wait_s)
    markets = {"recorded": market(asked, 1, console), "busy": market(asked, asked.squeeze, console)}
    return {
        "name": "fold",
        "machine": machine.describe(),
        "envelope": asked.size,
        "runs": asked.runs,
        "squeeze": asked.squeeze,
        "figures": markets,
        "busy_cores": busy,
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title=f"fold: µs a trade, {found['envelope']} a record", title_justify="left")
    for name in ("market", *STEPS, "all", "take by aiokafka", "trades", "candles"):
        table.add_column(name, justify="left" if name == "market" else "right", no_wrap=True)
    for name, one in found["figures"].items():
        steps = [f"{one['us_per_trade'][step]:.2f}" for step in STEPS]
        rest = (f"{one['us_per_trade_sum']:.2f}", f"{one['take_aiokafka_us_per_trade']:.2f}")
        table.add_row(name, *steps, *rest, f"{one['trades']:,}", f"{one['candles']:,}")
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=fold", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each market (5)")
    parser.add_argument("--size", type=int, default=1, help="trades a record (1)")
    parser.add_argument("--repeats", type=int, default=3, help="times the file is played, with shifted times (3)")
    parser.add_argument("--squeeze", type=int, default=60, help="seconds of the file in one of the busy market (60)")
    parser.add_argument("--trades", type=int, help="only the first trades of the file, for a quick look")
    parser.add_argument("--file", type=Path, default=FILE, help="recorded trades (CSV, CSV.gz, Parquet)")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "fold.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out, width=130)


if __name__ == "__main__":
    sys.exit(main())
