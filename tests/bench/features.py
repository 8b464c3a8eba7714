"""Features: µs from a closed candle to its row, and s for a year of 1m candles at once, beside TA-Lib and tulipy.

The fold runs over real minutes, one candle after the other, each timed by itself; its values must equal the bulk
path's or the benchmark fails. TA-Lib's handles take the same candles; tulipy computes the last bars again for each.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tables.candles import CandleRules
from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.features.fold import PairFeatures
from tables.records import MINUTE_MS, Candle
from tests.bench import machine, result
from tests.bench.command import SHARED, finish
from tests.bench.stack import BenchError

FILE: Final = SHARED / "candles/binance_btcusdt_1m_2023-12_2024-11.parquet"
WARM_BARS: Final = 3_000
PEER_BARS: Final = 1_600
"""Bars that the peers compute again: as many as the slowest recurrence needs to forget its start."""
NUMBERS: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume")
PRICES: Final = ("high", "low", "close", "volume")
NOTES: Final = (
    "The file has no taker side and no quote volume: half of the volume, and volume times close, stand in. "
    "The year is read from the file within its time; TA-Lib's arrays lie in memory, and it makes fewer features."
)
Year = dict[str, npt.NDArray[Any]]


def load(file: Path, bars: int | None) -> Year:
    """Read the columns of the features; what the file lacks is made of what it has, and the result says so."""
    table = pq.read_table(file, columns=["timestamp", "open", "high", "low", "close", "volume", "trades"])
    found = {name: table[name].to_numpy()[:bars] for name in table.column_names}
    found["open_ms"] = found.pop("timestamp").astype("datetime64[ms]").astype(np.int64)
    found["quote_volume"] = found["volume"] * found["close"]
    found["buy_volume"] = found["volume"] / 2
    return found


def candle_of(year: Year, at: int) -> Candle:
    """Give one bar as the candles stage would."""
    numbers = {name: float(year[name][at]) for name in NUMBERS}
    return Candle(
        pair="BTC/USDT",
        timeframe="1m",
        open_ms=int(year["open_ms"][at]),
        **numbers,
        trades=int(year["trades"][at]),
        vwap=numbers["close"],
        first_trade_id=at,
        last_trade_id=at,
        closed=True,
        revision=0,
        synthetic=False,
        closed_by="watermark",
        source="replay",
        as_of_ms=int(year["open_ms"][at]) + MINUTE_MS,
    )


def timed_us(work: Callable[[Any], object], inputs: Sequence[Any]) -> list[float]:
    """Time each call by itself."""
    found = []
    clock = time.perf_counter_ns
    for one in inputs:
        started = clock()
        work(one)
        found.append((clock() - started) / 1_000)
    return found


class Folds(msgspec.Struct):
    """µs of one run over all candles."""

    apply: list[float]
    """A candle in, a row out."""
    record: list[float]
    """A record decoded, folded, and its row encoded."""
    pack: list[float]
    """State to bytes: once a pair and chunk."""


def fold(candles: list[Candle]) -> tuple[Folds, list[float | None]]:
    """Run the fold twice over the candles; gives the times behind the warm-up, and the last row's values."""
    table: dict[bytes, bytes] = {}
    rules = CandleRules()
    revisable_ms = rules.retention_ms + rules.lateness_ms
    one, other = (PairFeatures("BTC/USDT", "1m", revisable_ms, table.get) for _ in range(2))
    records = [msgspec.json.encode(candle) for candle in candles]
    decode, encode = msgspec.json.Decoder(Candle).decode, msgspec.json.Encoder().encode
    apply = timed_us(one.apply, candles)
    record = timed_us(lambda raw: [encode(row) for row in other.apply(decode(raw))], records)
    pack = timed_us(lambda _: one.pack(), range(1_000))
    last = other.apply(candles[-1])[-1]  # the same candle again gives its row again
    return Folds(apply[WARM_BARS:], record[WARM_BARS:], pack), list(last.values.values())


def tulipy_again(year: Year, count: int) -> list[float]:
    """Compute all features of the last bars again for each of `count` candles (µs each)."""
    ends = np.linspace(PEER_BARS, len(year["open_ms"]), count, dtype=int)
    lasts = [
        {name: np.ascontiguousarray(column[end - PEER_BARS : end]) for name, column in year.items()} for end in ends
    ]
    return timed_us(lambda last: feature_matrix(last, MINUTE_MS), lasts)


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


class Runs(msgspec.Struct):
    """One value a run of each figure."""

    folds: list[Folds] = []
    year_s: list[float] = []
    tulipy_us: list[float] = []
    handles_us: list[float] = []
    talib_year_s: list[float] = []
    talib_features: int | None = None


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do all runs by turns and make the JSON result."""
    if not asked.file.exists():
        raise BenchError(f"{asked.file} is missing: give --file, or set TICKCAST_SHARED_DATA")
    busy = machine.busy_cores(asked.wait_s)
    year = load(asked.file, None)
    candles = [candle_of(year, at) for at in range(WARM_BARS + asked.candles)]
    expected = feature_matrix({name: column[: len(candles)] for name, column in year.items()}, MINUTE_MS)[-1]
    runs = Runs()
    for _ in track(range(asked.runs), "features", console=console, transient=True):
        run, last = fold(candles)
        if not np.allclose(np.array(last, dtype=float), expected, rtol=1e-9, atol=0.0, equal_nan=True):
            raise BenchError("the fold and the bulk path give different features")
        runs.folds.append(run)
        runs.year_s.append(seconds(lambda: feature_matrix(load(asked.file, None), MINUTE_MS)))
        runs.tulipy_us.append(median(tulipy_again(year, asked.peer_candles)))
        if asked.peers:
            measure_talib(year, asked.candles, runs)
    return {**assemble(runs), "candles": asked.candles, "year_bars": len(year["open_ms"]), "busy_cores": busy}


def measure_talib(year: Year, count: int, runs: Runs) -> None:
    """Run the peer once."""
    from tests.bench import talib_peer  # noqa: PLC0415  # of the group bench, which tests lack

    prices = {name: np.ascontiguousarray(year[name], dtype=np.float64) for name in PRICES}
    handles = talib_peer.Handles({name: column[:WARM_BARS] for name, column in prices.items()})
    rest = {name: column[WARM_BARS : WARM_BARS + count].tolist() for name, column in prices.items()}
    bars = [dict(zip(rest, values, strict=True)) for values in zip(*rest.values(), strict=True)]
    runs.talib_features = sum(len(found) if isinstance(found, tuple) else 1 for found in handles.update(bars[0]))
    runs.handles_us.append(median(timed_us(handles.update, bars[1:])))
    runs.talib_year_s.append(seconds(lambda: talib_peer.compute(prices)))


def assemble(runs: Runs) -> dict[str, Any]:
    """Make the JSON result; the keys are those of DESIGN 10."""
    ours_us = _over(runs.folds, "apply", 50)
    handles_us = round(median(runs.handles_us), 1) if runs.handles_us else None
    return {
        "name": "features",
        "machine": machine.describe(),
        "features": len(FEATURE_NAMES),
        "figures": {
            "candle_to_feature_us_p50": ours_us,
            "candle_to_feature_us_p99": _over(runs.folds, "apply", 99),
            "record_to_record_us_p50": _over(runs.folds, "record", 50),
            "state_to_bytes_us_p50": _over(runs.folds, "pack", 50),
            "backfill_year_s": round(median(runs.year_s), 3),
        },
        "peer": {
            "tulipy_again_us_p50": round(median(runs.tulipy_us), 1),
            "talib_handles_us_p50": handles_us,
            "talib_year_s": round(median(runs.talib_year_s), 3) if runs.talib_year_s else None,
            "talib_features": runs.talib_features,
            "bars_again": PEER_BARS,
        },
        "ratio": round(handles_us / ours_us, 2) if handles_us else None,
        "ratio_tulipy_again": round(median(runs.tulipy_us) / ours_us, 1),
        "notes": NOTES,
        "runs": {"year_s": runs.year_s, "handles_us": runs.handles_us, "tulipy_us": runs.tulipy_us},
    }


def _over(folds: list[Folds], name: str, percentile: float) -> float:
    """Give the median over the runs of a percentile within each."""
    return round(median(float(np.percentile(getattr(run, name), percentile)) for run in folds), 1)


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    table = Table(title=f"features: {found['features']} of each 1m candle", title_justify="left")
    for name in ("what", "here", "tulipy again", "TA-Lib"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    figures, peer = found["figures"], found["peer"]
    handles, year = (
        f"{peer[key]} {unit} (33)" for key, unit in (("talib_handles_us_p50", "µs"), ("talib_year_s", "s"))
    )
    again = f"{peer['tulipy_again_us_p50']} µs"
    table.add_row("candle to row, p50", f"{figures['candle_to_feature_us_p50']} µs", again, handles)
    for what, key in (
        ("candle to row, p99", "candle_to_feature_us_p99"),
        ("record to record, p50", "record_to_record_us_p50"),
        ("state to bytes, once a chunk", "state_to_bytes_us_p50"),
    ):
        table.add_row(what, f"{figures[key]} µs", "-", "-")
    table.add_row(f"{found['year_bars']:,} candles at once", f"{figures['backfill_year_s']} s", "-", year)
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=features", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--candles", type=int, default=20_000, help="candles folded one by one a run (20,000)")
    parser.add_argument("--peer-candles", type=int, default=200, help="candles of tulipy a run (200)")
    parser.add_argument("--no-peer", dest="peers", action="store_false", help="leave TA-Lib out")
    parser.add_argument("--file", type=Path, default=FILE, help="1m candles as Parquet")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "features.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
