"""Recorded trades of Kraken, read independently of the ingest."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tables.records import Side, Trade

__all__ = ["recorded_file", "recorded_trades"]

SHARED = Path(os.environ.get("TICKCAST_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def recorded_file() -> Path:
    """Give the recording of 2018, or skip the test with the reason."""
    path = SHARED / "trades" / "kraken_2018_andr3w321.csv.gz"
    if not path.is_file():
        pytest.skip(f"no recorded trades at {path} (TICKCAST_SHARED_DATA names the folder)")
    return path


def recorded_trades(path: Path, pairs: tuple[str, ...], start: str, end: str) -> Iterator[Trade]:
    """Read the trades of `pairs` in [start, end), numbered by pair in the order of the whole file."""
    numbers: dict[str, int] = {}
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            pair, stamp = row["symbol"], row["timestamp"]
            numbers[pair] = numbers.get(pair, 0) + 1
            if pair not in pairs or not start <= stamp < end:
                continue
            seconds = int(datetime.fromisoformat(f"{stamp[:19]}+00:00").timestamp())
            ts_ns = seconds * 1_000_000_000 + int(stamp[20:29])
            side: Side = "buy" if row["side"] == "buy" else "sell"
            yield Trade(pair, numbers[pair], ts_ns, float(row["price"]), float(row["qty"]), side, source="replay")
