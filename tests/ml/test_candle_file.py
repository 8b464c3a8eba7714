from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.candle_file import NEEDED, read_candles
from redpanda.errors import BadInputError
from tables.features.fold import refusal
from tables.records import MINUTE_MS
from tests.support.candle_files import candle_columns, write_recording

START_MS = 1_700_000_040_000


def write(folder: Path, columns: dict[str, Any]) -> Path:
    return write_recording(folder / "candles.parquet", columns)


def test_silent_minutes_become_flat_synthetic_candles(tmp_path: Path) -> None:
    columns = candle_columns(10)
    kept = [0, 1, 2, 6, 7, 8, 9]
    (one,) = read_candles(write(tmp_path, {name: column[kept] for name, column in columns.items()}))
    assert one.found.filled == 3
    assert one.columns["open_ms"].tolist() == columns["timestamp"].tolist()
    assert one.columns["synthetic"].tolist() == [False] * 3 + [True] * 3 + [False] * 4
    for name in ("open", "high", "low", "close"):
        assert (one.columns[name][3:6] == columns["close"][2]).all()
    assert (one.columns["volume"][3:6] == 0).all()


def test_a_silence_of_more_than_a_week_is_filled_for_a_week(tmp_path: Path) -> None:
    columns = candle_columns(20)
    columns["timestamp"][10:] += 10 * 1_440 * MINUTE_MS
    (one,) = read_candles(write(tmp_path, columns))
    assert (one.found.filled, one.found.gaps) == (7 * 1_440, 1)
    assert len(one.columns["open_ms"]) == 20 + 7 * 1_440


def test_of_a_repeated_minute_the_last_row_counts_and_order_does_not(tmp_path: Path) -> None:
    columns = candle_columns(6)
    doubled = {name: np.concatenate([column[::-1], column[2:3]]) for name, column in columns.items()}
    doubled["volume"][-1] = 77.0
    (one,) = read_candles(write(tmp_path, doubled))
    assert (one.found.rows, one.found.repeated, one.found.unsorted) == (7, 1, True)
    assert one.columns["open_ms"].tolist() == columns["timestamp"].tolist()
    assert one.columns["volume"][2] == 77.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("low", np.nan), ("high", 1.0), ("close", -3.0), ("volume", -1.0), ("open", np.inf), ("low", 0.0)],
)
def test_a_broken_row_is_left_out_and_its_minute_is_silent(tmp_path: Path, name: str, value: float) -> None:
    columns = candle_columns(6)
    columns[name][3] = value
    (one,) = read_candles(write(tmp_path, columns))
    assert (one.found.broken, one.found.filled) == (1, 1)
    assert one.columns["synthetic"].tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("per_ms", [1e-3, 1, 1_000, 1_000_000])
def test_integers_are_read_as_s_ms_us_or_ns(tmp_path: Path, per_ms: float) -> None:
    columns = candle_columns(5)
    expected = columns["timestamp"].tolist()
    columns["timestamp"] = (columns["timestamp"] * per_ms).astype(np.int64)
    assert read_candles(write(tmp_path, columns))[0].columns["open_ms"].tolist() == expected


def test_times_with_a_zone_are_utc(tmp_path: Path) -> None:
    columns = candle_columns(5)
    expected = columns["timestamp"].tolist()
    columns["timestamp"] = pa.array(columns["timestamp"], pa.timestamp("ms", tz="Europe/Berlin"))
    assert read_candles(write(tmp_path, columns))[0].columns["open_ms"].tolist() == expected


def test_a_column_of_pairs_splits_the_file(tmp_path: Path) -> None:
    one, other = candle_columns(5), candle_columns(7)
    columns = {name: np.concatenate([one[name], other[name]]) for name in one}
    columns["symbol"] = np.array(["B/USD"] * 5 + ["A/USD"] * 7)
    file = write(tmp_path, columns)
    assert [(found.pair, found.found.rows) for found in read_candles(file)] == [("A/USD", 7), ("B/USD", 5)]
    assert [found.pair for found in read_candles(file, "B/USD")] == ["B/USD"]
    with pytest.raises(BadInputError, match="no rows of C/USD: it has A/USD, B/USD"):
        read_candles(file, "C/USD")


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_column_is_named(tmp_path: Path, name: str) -> None:
    columns = candle_columns(5)
    del columns[name]
    with pytest.raises(BadInputError, match=f"lacks {name}"):
        read_candles(write(tmp_path, columns))


def test_what_is_no_history_of_minutes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="5 minutes apart"):
        read_candles(write(tmp_path, candle_columns(10, step_ms=5 * MINUTE_MS)))
    with pytest.raises(BadInputError, match="not whole minutes"):
        read_candles(write(tmp_path, candle_columns(10, start_ms=START_MS + 1)))
    with pytest.raises(BadInputError, match="1 sound rows"):
        read_candles(write(tmp_path, candle_columns(1)))
    with pytest.raises(BadInputError, match="cannot be read as Parquet"):
        read_candles(Path(__file__))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 1.5, -1.0, np.nan])), min_size=2, max_size=60),
    st.booleans(),
)
def test_whatever_is_read_a_worker_would_take(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]], counted: bool
) -> None:
    from app.backtest import candles_of  # noqa: PLC0415  # the stack of the worker, for this test alone

    columns = candle_columns(len(rows))
    columns["timestamp"] = np.array([START_MS + minute * MINUTE_MS for minute, _ in rows])
    columns["volume"] = np.array([volume for _, volume in rows])
    if counted:
        columns["trades"] = np.arange(len(rows)) % 3
    try:
        found = read_candles(write(tmp_path_factory.mktemp("any"), columns))
    except BadInputError:
        return
    candles = list(candles_of(found))
    assert not [candle for candle in candles if refusal(candle)]
    assert np.diff([candle.open_ms for candle in candles]).tolist() == [MINUTE_MS] * (len(candles) - 1)
    assert found[0].found.rows == len(rows)
