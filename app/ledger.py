"""What the store holds after a replay, and the ledger as a table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from app.recompute import Bar, Bars
from tables.clickhouse.client import store_errors

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

__all__ = ["as_table", "stored_bars", "stored_counts"]

TABLES: Final = ("candles", "features", "forecasts")
MEANING: Final = {
    "read": "trades read from the file",
    "published": "trades acknowledged by the log",
    "applied": "trades folded into candles",
    "duplicate": "trades seen again and changed nothing",
    "late": "trades older than any window in state",
    "dead": "refused records, each with its reason",
    "candles": "candles in ClickHouse, six timeframes",
    "features": "feature rows in ClickHouse",
    "forecasts": "forecasts in ClickHouse",
    "seconds": "from the stack being up to everything stored",
    "compared": "candles of the batch recompute",
    "missing": "of these not in ClickHouse",
    "extra": "in ClickHouse and not of these",
    "different": "of these with another value",
    "mismatches": "missing + extra + different",
}
SELECT_BARS: Final = """
SELECT timeframe, toUnixTimestamp64Milli(open_time), open, high, low, close, volume, quote_volume, buy_volume,
       trades, vwap, first_trade_id, last_trade_id, synthetic
FROM candles FINAL
WHERE pair = {pair:String} AND closed
"""


def stored_bars(store: Client, pair: str) -> Bars:
    """Read all closed candles of one pair."""
    with store_errors("reading candles"):
        rows = store.query(SELECT_BARS, parameters={"pair": pair}).result_rows
    return {(row[0], row[1]): Bar(*row[2:]) for row in rows}


def stored_counts(store: Client) -> dict[str, int]:
    """Count rows by table, replaced ones not."""
    with store_errors("counting rows"):
        return {table: int(store.query(f"SELECT count() FROM {table} FINAL").result_rows[0][0]) for table in TABLES}  # noqa: S608  # three constants


def as_table(ledger: dict[str, Any]) -> str:
    """Show the ledger to a person."""
    table = Table(title=f"{Path(ledger['file']).name}: {', '.join(ledger['pairs'])}", title_justify="left")
    table.add_column("ledger")
    table.add_column("", justify="right")
    table.add_column("what it counts", style="dim")
    for name, meaning in MEANING.items():
        value = ledger[name]
        table.add_row(name, f"{value:,}", meaning)
    text = io.StringIO()
    Console(file=text, width=100).print(table)
    return text.getvalue().rstrip()
