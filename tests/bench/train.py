"""Train: s from stored candles to a registered version with a verdict, and µs from a closed candle to its forecast.

Real minutes, through the trainer as it runs in production: a process of its own, tuning within its budget, the gate,
the registry, the report. The forecast is by a model of the usual size, with a rolling correction, encoded as sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from agents.predictor import forecast
from agents.send import encode
from app.worker import calm_collector
from ml import dataset
from ml.candle_file import History, candle_of, read_candles
from ml.catboost_model import DEFAULTS, fit_model
from ml.model import Origin
from ml.rolling import START, learn
from ml.settings import TrainerSettings
from ml.trainer import Trainer
from tables.candles import CandleRules
from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.features.fold import PairFeatures
from tables.records import MINUTE_MS
from tests.bench import machine, result
from tests.bench.command import SHARED, finish
from tests.bench.stack import BenchError
from tests.support.file_source import FileSource

FILE: Final = SHARED / "candles/binance_btcusdt_1m_2023-12_2024-11.parquet"
HORIZON_S: Final = 300
WARM_BARS: Final = 3_000
PAIRS: Final = ("A/USDT", "B/USDT", "C/USDT", "D/USDT")


def rows_of(history: History, pair: str, first: int, count: int) -> dict[str, Any]:
    """Give the feature table of a stretch of minutes, as the store would."""
    columns = {name: column[first : first + count] for name, column in history.columns.items()}
    matrix = feature_matrix(columns, MINUTE_MS)
    kept = ("open_ms", "open", "high", "low", "close", "synthetic")
    return {
        "pair": np.full(count, pair),
        **{name: columns[name] for name in kept},
        "bars": np.arange(1, count + 1),
        **{name: matrix[:, at] for at, name in enumerate(FEATURE_NAMES)},
    }


def stacked(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the tables of several pairs under each other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def trained_s(table: dict[str, Any], **other: Any) -> tuple[float, str]:
    """Train once as `tickcast train --once` does; gives the time and what the gate said."""
    with tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder:
        home = Path(folder)
        source = FileSource(home / "rows.npz")
        source.fill(table)
        settings = TrainerSettings(home=home, source="replay", horizons_s=(HORIZON_S,), train_nice=0, **other)
        started_s = time.perf_counter()
        (report,) = Trainer(settings, source).run(once=True)
        took_s = time.perf_counter() - started_s
        if not report.version:
            raise BenchError(f"nothing was registered: {report.reasons}")
        return took_s, "promoted" if report.promoted else f"refused: {'; '.join(report.reasons)}"


def forecasts_us(history: History, count: int) -> list[float]:
    """Time each candle from the fold's input to the encoded forecast of one horizon."""
    table = dataset.prepare(rows_of(history, "A/USDT", 0, 100_000))
    blocks = dataset.split(dataset.samples(table, HORIZON_S), HORIZON_S)
    train = dataset.every_hth(blocks.train, HORIZON_S)
    model, _ = fit_model(train, blocks.calibration, DEFAULTS, Origin(HORIZON_S), threads=2, seed=1)
    rules = CandleRules()
    nothing: dict[bytes, bytes] = {}
    fold = PairFeatures("A/USDT", "1m", rules.retention_ms + rules.lateness_ms, nothing.get)
    rolling = learn(START, (True, True, False, False, False))
    candles = [candle_of("A/USDT", history.columns, at) for at in range(WARM_BARS + count)]
    found, clock = [], time.perf_counter_ns
    calm_collector()  # as in the worker
    for candle in candles:
        started = clock()
        for row in fold.apply(candle):
            made = forecast(row, model, candle.open_ms + MINUTE_MS, rolling)
            if made is not None:
                encode(made)
        found.append((clock() - started) / 1_000)
    return found[WARM_BARS:]


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do all runs by turns and make the JSON result."""
    if not asked.file.exists():
        raise BenchError(f"{asked.file} is missing: give --file, or set TICKCAST_SHARED_DATA")
    busy = machine.busy_cores(asked.wait_s)
    (history,) = read_candles(asked.file)
    small = rows_of(history, "A/USDT", 0, 20_000)
    large = stacked([rows_of(history, pair, at * 100_000, 100_000) for at, pair in enumerate(PAIRS)])
    runs: dict[str, list[Any]] = {name: [] for name in ("small", "large", "untuned", "p50", "p99", "verdicts")}
    for run in range(asked.runs):
        with console.status(f"run {run + 1} of {asked.runs}"):
            for name, table, other in (
                ("small", small, {"train_min_candles": 1_000}),
                ("large", large, {"train_history_days": 400.0}),
                ("untuned", small, {"tune_trials": 0}),
            ):
                took_s, said = trained_s(table, **other)
                runs[name].append(round(took_s, 2))
                runs["verdicts"].append(f"{name}: {said}")
            times = forecasts_us(history, asked.candles)
            runs["p50"].append(round(float(np.percentile(times, 50)), 1))
            runs["p99"].append(round(float(np.percentile(times, 99)), 1))
    return {
        "name": "train",
        "machine": machine.describe(),
        "figures": {
            "candles_20k_s": median(runs["small"]),
            "candles_20k_untuned_s": median(runs["untuned"]),
            "four_pairs_100k_s": median(runs["large"]),
            "candle_to_forecast_us_p50": median(runs["p50"]),
            "candle_to_forecast_us_p99": median(runs["p99"]),
        },
        "peer": None,
        "ratio": None,
        "horizon_s": HORIZON_S,
        "notes": "Four stretches of one year stand in for four pairs. The report of each training is part of its time.",
        "busy_cores": busy,
        "runs": runs,
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print the result as a table with the machine under it."""
    figures = found["figures"]
    table = Table(title="train: one horizon of 5 minutes", title_justify="left")
    table.add_column("what")
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("runs", justify="right")
    for what, key, unit, name in (
        ("20,000 candles to a registered version", "candles_20k_s", "s", "small"),
        ("the same without tuning", "candles_20k_untuned_s", "s", "untuned"),
        ("4 pairs of 100,000", "four_pairs_100k_s", "s", "large"),
        ("candle to encoded forecast, p50", "candle_to_forecast_us_p50", "µs", "p50"),
        ("candle to encoded forecast, p99", "candle_to_forecast_us_p99", "µs", "p99"),
    ):
        table.add_row(what, f"{figures[key]} {unit}", json.dumps(found["runs"][name]))
    console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=train", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each (5)")
    parser.add_argument("--candles", type=int, default=20_000, help="candles that are forecast from a run (20,000)")
    parser.add_argument("--file", type=Path, default=FILE, help="1m candles as Parquet, 403,000 or more")
    parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for a quiet machine (60)")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "train.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
