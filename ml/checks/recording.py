"""A recording as it lies in a file: what `tickcast check data FILE` looks at, before anything is mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.candle_file import NEEDED, PAIR_COLUMNS, Columns, read_columns
from redpanda.errors import BadInputError

__all__ = ["read_recording"]

_MORE: Final = ("quote_volume", "buy_volume", "trades")


def read_recording(file: Path, pairs: tuple[str, ...] = ()) -> Columns:
    """Read 1m candles from Parquet, every row as it is, with the columns that `ml.checks.quality.look` takes.

    Parameters
    ----------
    pairs
        Of a file with a column `pair` or `symbol`, those that are read; empty: all.

    Raises
    ------
    BadInputError
        No such file, no Parquet, no rows, a column is missing or holds no numbers, a row without a time.
    """
    raw = read_columns(file)
    rows = len(raw["open_ms"])
    label = next((name for name in PAIR_COLUMNS if name in raw), None)
    pair = np.asarray(raw[label], dtype=str) if label else np.full(rows, pairs[0] if len(pairs) == 1 else file.stem)
    columns: Columns = {"pair": pair, "open_ms": raw["open_ms"]}
    for name in (*NEEDED[1:], *_MORE):
        if name in raw:
            columns[name] = _numbers(raw[name], name, file)
    if label and pairs:
        columns = {name: column[np.isin(pair, pairs)] for name, column in columns.items()}
    if not len(columns["pair"]):
        known = f" of {', '.join(pairs)}: it has {', '.join(np.unique(pair)[:12])}" if rows else ""
        raise BadInputError(f"{file} has no rows{known}")
    if lost := int((columns["open_ms"] < 0).sum()):
        raise BadInputError(f"{file}: {lost:,} rows have no timestamp, or one before 1970: leave them out")
    traded = columns["volume"] > 0
    if "trades" in columns:
        traded &= columns["trades"] > 0
    # A row whose volume is no number is a fault of its own.
    columns["synthetic"] = ~traded & np.isfinite(columns["volume"])
    return columns


def _numbers(values: npt.NDArray[Any], name: str, file: Path) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{file}: column {name} holds {values.dtype}, needed are numbers ({error})") from error
