"""Recorded 1m candles from Parquet: read, checked, and filled as the candles stage fills silent minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from ml.checks.contract import sound
from redpanda.errors import BadInputError, MissingToolError
from tables.candles import CandleRules
from tables.records import MINUTE_MS, Candle

__all__ = [
    "NEEDED",
    "PAIR_COLUMNS",
    "SOURCE",
    "Columns",
    "Found",
    "History",
    "candle_of",
    "histories_of",
    "read_candles",
    "read_columns",
]

NEEDED: Final = ("timestamp", "open", "high", "low", "close", "volume")
_MORE: Final = ("quote_volume", "buy_volume", "trades")
PAIR_COLUMNS: Final = ("pair", "symbol")
_UNITS_MS: Final = ((10**17, 1e6), (10**14, 1e3), (10**11, 1.0), (10**8, 1e-3))
"""Integers from here on count so many to the millisecond: ns, µs, ms, s since the epoch."""
_LIMIT: Final = 1e100
_NUMBERS: Final = ("open", "high", "low", "close", "volume", "quote_volume", "buy_volume")
SOURCE: Final = "replay"
Columns = dict[str, npt.NDArray[Any]]


class Found(msgspec.Struct, frozen=True):
    """What was wrong with one pair's rows (count)."""

    rows: int
    broken: int = 0
    """Prices or volume that are no candle: left out, as if nothing had been recorded."""
    repeated: int = 0
    """Of one minute the last row counts."""
    unsorted: bool = False
    filled: int = 0
    """Silent minutes that became synthetic candles."""
    gaps: int = 0
    """Silences that are longer than what is filled; bars of both sides stand beside each other."""


class History(msgspec.Struct, frozen=True):
    """One pair in time order, one row a minute."""

    pair: str
    columns: Columns
    """`open_ms` int64; open, high, low, close, volume, quote_volume, buy_volume, trades float64; `synthetic` bool."""
    found: Found


def read_candles(file: Path, pair: str = "") -> list[History]:
    """Read a Parquet file with the columns timestamp, open, high, low, close, volume.

    `quote_volume`, `buy_volume`, `trades` are used where they are there; else the typical price, half of the volume and
    one trade a minute stand in. A column `pair` or `symbol` splits the file.

    Parameters
    ----------
    pair
        Name of the pair where no column tells it, and the only one that is read where one does; empty: all.

    Raises
    ------
    BadInputError
        No such file, no Parquet, a column is missing, not 1m candles, nothing of `pair`.
    """
    return histories_of(read_columns(file), pair, str(file))


def read_columns(file: Path) -> Columns:
    """Read the file of `read_candles` as it is: nothing is left out, ordered or filled, but times are `open_ms`.

    Raises
    ------
    BadInputError
        No such file, no Parquet, a column is missing.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  # heavy
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise MissingToolError(f"reading Parquet needs pyarrow ({error}): run `uv sync --extra ml`") from error
    try:
        names = pq.read_schema(file).names
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise BadInputError(
                f"{file} lacks {', '.join(missing)}: needed are {', '.join(NEEDED)} (it has {', '.join(names[:12])})"
            )
        wanted = [name for name in (*NEEDED, *_MORE, *PAIR_COLUMNS) if name in names]
        table = pq.read_table(file, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise BadInputError(f"{file} cannot be read as Parquet ({error})") from error
    columns = {name: table[name].to_numpy() for name in wanted}
    columns["open_ms"] = _times(columns.pop("timestamp"), file)
    return columns


def _times(values: npt.NDArray[Any], file: Path) -> npt.NDArray[np.int64]:
    """Give times in ms, of datetimes or of integers since the epoch."""
    if values.dtype.kind == "M":
        return np.asarray(values.astype("datetime64[ms]").astype(np.int64))
    if values.dtype.kind not in "iuf" or not len(values):
        raise BadInputError(f"{file}: column timestamp holds {values.dtype}, needed are times or integers since 1970")
    typical = float(np.nanmedian(values))
    for least, divisor in _UNITS_MS:
        if typical >= least:
            return np.asarray(np.round(values / divisor), dtype=np.int64)
    raise BadInputError(f"{file}: timestamps around {typical:g} are no s, ms, µs or ns since 1970")


def histories_of(columns: Columns, pair: str, name: str) -> list[History]:
    """Split by pair, order and fill columns as `read_candles` gives them; `name` is for errors."""
    by = next((one for one in PAIR_COLUMNS if one in columns), None)
    if by is None:
        return [_history(pair or "FILE", columns, name)]
    labels = np.asarray(columns[by], dtype=str)
    pairs = [str(one) for one in np.unique(labels) if pair in ("", one)]
    if not pairs:
        raise BadInputError(f"{name} has no rows of {pair}: it has {', '.join(np.unique(labels)[:12])}")
    return [
        _history(one, {key: column[labels == one] for key, column in columns.items() if key != by}, name)
        for one in pairs
    ]


def _history(pair: str, columns: Columns, name: str) -> History:
    open_ms = columns["open_ms"]
    values: Columns = {
        key: np.asarray(columns[key], dtype=np.float64) for key in (*NEEDED[1:], *_MORE) if key in columns
    }
    good = (open_ms >= 0) & _is_candle(values)
    rows: Columns = {"open_ms": open_ms, **values}
    order = np.flatnonzero(good)
    order = order[np.argsort(open_ms[order], kind="stable")]
    last = np.append(np.diff(open_ms[order]) > 0, np.ones(min(1, len(order)), dtype=bool))
    kept = {key: column[order[last]] for key, column in rows.items()}
    _check_steps(kept["open_ms"], pair, name)
    full = _with_stand_ins(kept)
    filled, gaps = _filled(full)
    found = Found(
        rows=len(open_ms),
        broken=int((~good).sum()),
        repeated=int((~last).sum()),
        unsorted=bool((np.diff(open_ms) < 0).any()),
        filled=len(filled["open_ms"]) - len(full["open_ms"]),
        gaps=gaps,
    )
    return History(pair, filled, found)


def _is_candle(rows: Columns) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):  # NaN compares as false, which is what it is
        good = sound(rows) & (rows["low"] > 1 / _LIMIT) & (rows["high"] < _LIMIT)
        for name in ("volume", *_MORE):
            if name in rows:
                good &= (rows[name] >= 0) & (rows[name] < _LIMIT)
    return np.asarray(good)


def _check_steps(open_ms: npt.NDArray[np.int64], pair: str, name: str) -> None:
    if len(open_ms) < 2:  # noqa: PLR2004  # two rows make a step
        raise BadInputError(f"{name}: {len(open_ms)} sound rows of {pair}, which is no history")
    if (open_ms % MINUTE_MS).any():
        raise BadInputError(f"{name}: times of {pair} are not whole minutes: needed are the open times of 1m candles")
    step = int(np.median(np.diff(open_ms))) // MINUTE_MS
    if step != 1:
        raise BadInputError(f"{name}: rows of {pair} are {step} minutes apart: needed are 1m candles")


def _with_stand_ins(rows: Columns) -> Columns:
    volume = rows["volume"]
    typical = (rows["high"] + rows["low"] + rows["close"]) / 3
    more: Columns = {
        "quote_volume": typical * volume,
        "buy_volume": volume / 2,
        "trades": np.sign(volume),
    }
    full = more | rows
    full["synthetic"] = (volume == 0) | (full["trades"] == 0)
    silent = full["synthetic"]
    for name in ("volume", *_MORE):
        full[name] = np.where(silent, 0.0, full[name])
    # A volume without its amount, or more bought than traded, is no trade of any market.
    full["quote_volume"] = np.where(~silent & (full["quote_volume"] <= 0), typical * volume, full["quote_volume"])
    full["buy_volume"] = np.minimum(full["buy_volume"], full["volume"])
    return full


def _filled(rows: Columns) -> tuple[Columns, int]:
    """Put flat candles into silences, up to the longest that is filled; gives also how many are longer."""
    minute = rows["open_ms"] // MINUTE_MS
    silence = np.diff(minute) - 1
    longest = CandleRules().synthetic_gap_max_ms // MINUTE_MS
    fill = np.minimum(silence, longest)
    repeat = np.append(fill, 0) + 1
    at = np.repeat(np.arange(len(minute)), repeat)
    into = np.arange(len(at)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    new = into > 0
    out = {name: column[at] for name, column in rows.items()}
    out["open_ms"] = (minute[at] + into) * MINUTE_MS
    for name in ("open", "high", "low"):
        out[name] = np.where(new, out["close"], out[name])
    for name in ("volume", *_MORE):
        out[name] = np.where(new, 0.0, out[name])
    out["synthetic"] = out["synthetic"] | new
    return out, int((silence > longest).sum())


def candle_of(pair: str, columns: Columns, at: int) -> Candle:
    """Give one row as the candles stage would send it."""
    open_ms = int(columns["open_ms"][at])
    numbers = {name: float(columns[name][at]) for name in _NUMBERS}
    synthetic = bool(columns["synthetic"][at])
    return Candle(
        pair=pair,
        timeframe="1m",
        open_ms=open_ms,
        **numbers,
        trades=int(columns["trades"][at]),
        vwap=numbers["close"] if synthetic else numbers["quote_volume"] / numbers["volume"],
        first_trade_id=-1,
        last_trade_id=-1,
        closed=True,
        revision=0,
        synthetic=synthetic,
        closed_by="watermark",
        source=SOURCE,
        as_of_ms=open_ms + MINUTE_MS,
    )
