"""Codecs: bytes a row of candles and features on disk, and how long writing and scanning takes, by codec.

Recorded minutes and the features made of them, in the real engine. Beside each codec on every column of numbers stands
what the migrations have chosen, column by column.
"""

# ruff: noqa: S608  (names of this file and of the schema)

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from agents.sinks import MAX_BATCH_ROWS
from ml.candle_file import histories_of, read_columns
from tables.clickhouse import migrate
from tables.clickhouse.client import connect
from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.records import MINUTE_MS
from tests.bench import machine, result
from tests.bench.command import SHARED, finish
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

FILE: Final = SHARED / "candles/binance_btcusdt_1m_2023-12_2024-11.parquet"
SERVED: Final = "served"
CODECS: Final = (
    "LZ4",
    "ZSTD(1)",
    "ZSTD(3)",
    "Delta, ZSTD(1)",
    "DoubleDelta, ZSTD(1)",
    "Gorilla, ZSTD(1)",
    "FPC(12), ZSTD(1)",
)
PRICES: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume", "vwap")
Arrays = dict[str, npt.NDArray[np.float64]]


def columns_of(file: Path, count: int) -> Mapping[str, Arrays]:
    """Give the columns of numbers of both tables, `count` minutes from the middle of a recording."""
    (history,) = histories_of(read_columns(file), "", file.name)
    start = max(0, (len(history.columns["close"]) - count) // 2)
    bars = {name: values[start : start + count] for name, values in history.columns.items()}
    volume = np.asarray(bars["volume"], np.float64)
    made: Arrays = {name: np.asarray(bars[name], np.float64) for name in PRICES if name in bars}
    with np.errstate(divide="ignore", invalid="ignore"):
        made["vwap"] = np.where(volume > 0, made["quote_volume"] / volume, made["close"])
    matrix = np.nan_to_num(feature_matrix(bars, MINUTE_MS))
    return {"candles": made, "features": dict(zip(FEATURE_NAMES, np.ascontiguousarray(matrix.T), strict=True))}


def served_codecs(client: Client, table: str) -> dict[str, str]:
    """Give the codec of each column as the migrations made it."""
    found = client.query(
        "SELECT name, compression_codec FROM system.columns WHERE database = currentDatabase() AND table = {t:String}",
        parameters={"t": table},
    ).result_rows
    return {name: codec.removeprefix("CODEC(").removesuffix(")") for name, codec in found}


def one_table(client: Client, name: str, columns: Arrays, codecs: Mapping[str, str]) -> dict[str, Any]:
    """Write a table, merge it, scan it; gives bytes a row by column, and seconds."""
    fields = ", ".join(f"{column} Float64 CODEC({codecs[column]})" for column in columns)
    client.command(
        f"CREATE TABLE {name} (n UInt32 CODEC(DoubleDelta, ZSTD(1)), {fields}) ENGINE = MergeTree ORDER BY n "
        "SETTINGS min_bytes_for_wide_part = 0, min_rows_for_wide_part = 0"  # compact parts know no sizes by column
    )
    rows = len(next(iter(columns.values())))
    started_s = time.perf_counter()
    for begin in range(0, rows, MAX_BATCH_ROWS):
        part = slice(begin, begin + MAX_BATCH_ROWS)
        data: list[Any] = [np.arange(rows, dtype=np.uint32)[part], *(values[part] for values in columns.values())]
        client.insert(
            name,
            data,
            column_names=["n", *columns],
            column_type_names=["UInt32", *["Float64"] * len(columns)],
            column_oriented=True,
        )
    write_s = time.perf_counter() - started_s
    client.command(f"OPTIMIZE TABLE {name} FINAL")
    sums = ", ".join(f"sum({column})" for column in columns)
    scans = []
    for _ in range(5):
        started_s = time.perf_counter()
        client.query(f"SELECT {sums} FROM {name}")
        scans.append(time.perf_counter() - started_s)
    sizes = client.query(
        "SELECT name, data_compressed_bytes FROM system.columns WHERE database = currentDatabase() "
        "AND table = {t:String} AND name != 'n'",
        parameters={"t": name},
    ).result_rows
    client.command(f"DROP TABLE {name}")
    return {
        "bytes_per_row": {column: round(size / rows, 3) for column, size in sizes},
        "write_s": round(write_s, 3),
        "scan_ms": round(1_000 * float(np.median(scans)), 1),
    }


def measure(asked: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Write both tables with every codec."""
    told: dict[str, dict[str, Any]] = defaultdict(dict)
    columns = columns_of(asked.file, asked.rows)
    with tempfile.TemporaryDirectory(prefix="tickcast-bench-") as folder:
        store = StoreProcess(Path(folder))
        store.start()
        try:
            client = connect(store.settings())
            migrate.apply(client)
            for table, arrays in columns.items():
                chosen = served_codecs(client, table)
                for codec in (SERVED, *CODECS):
                    console.print(f"{table}: {codec}", style="dim")
                    codecs = chosen if codec == SERVED else dict.fromkeys(arrays, codec)
                    told[table][codec] = one_table(client, "measured", arrays, codecs)
            client.close()
        finally:
            store.stop()
    return assemble(told, asked.rows)


def best_of(found: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Give the smallest codec of each column and its bytes a row."""
    columns = found[SERVED]["bytes_per_row"]
    return {
        column: min(((codec, found[codec]["bytes_per_row"][column]) for codec in CODECS), key=lambda one: one[1])
        for column in columns
    }


def assemble(told: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Make the JSON result."""
    figures: dict[str, Any] = {"rows": rows}
    for table, found in told.items():
        figures[table] = {
            "bytes_per_row": {codec: round(sum(one["bytes_per_row"].values()), 1) for codec, one in found.items()},
            "best_of_each_column": round(sum(size for _, size in best_of(found).values()), 1),
            "write_s": {codec: one["write_s"] for codec, one in found.items()},
            "scan_ms": {codec: one["scan_ms"] for codec, one in found.items()},
        }
    return {
        "name": "codecs",
        "machine": machine.describe(),
        "figures": figures,
        "peer": None,
        "ratio": None,
        "notes": {"file": FILE.name, "best": {table: best_of(found) for table, found in told.items()}},
        "runs": told,
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print one table a table of the store."""
    for name in ("candles", "features"):
        figures = found["figures"][name]
        table = Table(title=f"{name}: {found['figures']['rows']:,} recorded minutes", title_justify="left")
        for head in ("codec", "bytes a row", "write (s)", "scan (ms)"):
            table.add_column(head, justify="left" if head == "codec" else "right", no_wrap=True)
        for codec, size in figures["bytes_per_row"].items():
            table.add_row(codec, f"{size}", f"{figures['write_s'][codec]}", f"{figures['scan_ms'][codec]}")
        table.add_row("best of each column", f"{figures['best_of_each_column']}", "", "")
        console.print(table)
    console.print(f"[dim]{machine.one_line(found['machine'])}[/dim]", highlight=False)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench NAME=codecs", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000, help="minutes (200,000)")
    parser.add_argument("--file", type=Path, default=FILE, help="1m candles as Parquet")
    parser.add_argument("--out", type=Path, default=result.RESULTS / "codecs.json", help="where the JSON goes")
    return parser.parse_args(arguments)


def main() -> int:
    asked = options()
    return finish(lambda console: measure(asked, console), show, asked.out)


if __name__ == "__main__":
    sys.exit(main())
