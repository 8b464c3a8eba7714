from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.trades.replay import read_trades
from agents.trades.settings import IngestSettings
from app.recompute import STEPS_MS, Bar, batch_bars, compare
from app.recorded import Row, ns_of, pairs_in, read_recorded
from redpanda.errors import BadInputError
from tables.records import Trade

MINUTE_NS = 60_000_000_000
HEAD = "symbol,price,qty,side,ord_type,trade_id,timestamp\n"


def row(minute: float, trade_id: int, price: str, qty: str = "1", side: str = "buy") -> Row:
    return Row(int(minute * MINUTE_NS), trade_id, Decimal(price), Decimal(qty), side)


def test_one_minute_by_hand() -> None:
    bars = batch_bars([row(1.5, 2, "11", "2", "sell"), row(1.1, 1, "10", "0.1"), row(1.9, 3, "9", "0.2")])
    assert bars["1m", 60_000] == Bar(10.0, 11.0, 9.0, 9.0, 2.3, 24.8, 0.3, 3, 248 / 23, 1, 3, False)
    assert {timeframe for timeframe, _ in bars} == set(STEPS_MS)
    assert bars["1d", 0] == bars["1m", 60_000]


def test_sums_are_exact_where_floats_are_not() -> None:
    bars = batch_bars([row(0, n, "1", "0.1") for n in range(1, 11)])
    assert bars["1m", 0].volume == 1.0
    assert sum([0.1] * 10) != 1.0


def test_equal_times_are_ordered_by_id() -> None:
    bars = batch_bars([row(0, 2, "20"), row(0, 1, "10"), row(0, 3, "30")])
    assert (bars["1m", 0].open, bars["1m", 0].close) == (10.0, 30.0)


def test_silent_minutes_are_flat_at_the_last_close_and_do_not_touch_larger_windows() -> None:
    bars = batch_bars([row(0, 1, "10"), row(3, 2, "30")])
    flat = Bar(10.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0.0, 0, 10.0, -1, -1, True)
    assert [bars["1m", minute * 60_000] for minute in (1, 2)] == [flat, flat]
    assert (bars["5m", 0].low, bars["5m", 0].high, bars["5m", 0].trades) == (10.0, 30.0, 2)
    assert len([1 for timeframe, _ in bars if timeframe == "1m"]) == 4


def test_larger_window_without_trades_is_flat_too() -> None:
    bars = batch_bars([row(0, 1, "10"), row(11, 2, "30")])
    assert bars["5m", 300_000].synthetic
    assert bars["5m", 300_000].close == 10.0


def test_long_silence_is_filled_up_to_the_limit_only() -> None:
    bars = batch_bars([row(0, 1, "10"), row(100, 2, "30")], gap_max_ms=5 * 60_000)
    minutes = sorted(open_ms // 60_000 for timeframe, open_ms in bars if timeframe == "1m")
    assert minutes == [0, 1, 2, 3, 4, 5, 100]


trades = st.lists(
    st.tuples(
        st.integers(0, 40 * MINUTE_NS),
        st.decimals("0.0001", "99999", places=4),
        st.decimals("0.00000001", "999", places=8),
        st.sampled_from(("buy", "sell", "")),
    ),
    min_size=1,
    max_size=40,
)


def numbered(parts: list[tuple[int, Decimal, Decimal, str]]) -> list[Row]:
    return [Row(ts_ns, number, price, qty, side) for number, (ts_ns, price, qty, side) in enumerate(parts, start=1)]


@given(trades)
def test_larger_windows_hold_what_their_minutes_hold(parts: list[tuple[int, Decimal, Decimal, str]]) -> None:
    rows = numbered(parts)
    bars = batch_bars(rows)
    for (timeframe, open_ms), bar in bars.items():
        inside = [bars["1m", at] for at in range(open_ms, open_ms + STEPS_MS[timeframe], 60_000) if ("1m", at) in bars]
        assert bar.trades == sum(minute.trades for minute in inside)
        assert bar.high == max(minute.high for minute in inside if minute.trades or bar.synthetic)
        assert bar.low == min(minute.low for minute in inside if minute.trades or bar.synthetic)
        assert bar.close == inside[-1].close
        assert bar.low <= bar.vwap * (1 + 1e-15)
        assert bar.vwap <= bar.high * (1 + 1e-15)


@given(trades, st.permutations(range(40)))
def test_arrival_order_does_not_matter(parts: list[tuple[int, Decimal, Decimal, str]], order: list[int]) -> None:
    rows = numbered(parts)
    shuffled = [rows[at] for at in order if at < len(rows)]
    assert batch_bars(shuffled) == batch_bars(rows)


def test_comparison_counts_and_names_every_kind_of_difference() -> None:
    expected = batch_bars([row(0, 1, "10"), row(1, 2, "20")])
    found = dict(expected)
    del found["1m", 0]
    found["1m", 120_000] = expected["1m", 60_000]
    found["1d", 0] = expected["1d", 0]._replace(close=21.0)
    result = compare("BTC/USD", expected, found)
    assert (result.missing, result.extra, result.different, result.mismatches) == (1, 1, 1, 3)
    assert any("1d 0: close 21.0 instead of 20.0" in example for example in result.examples)


def test_rows_without_id_are_numbered_in_file_order_and_filters_keep_the_numbers(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv.gz"
    file.write_bytes(
        gzip.compress(
            (
                HEAD
                + "A/B,1,1,buy,limit,,2018-05-13T00:00:00.000000000Z\n"
                + "C/D,5,1,,,,2018-05-13T00:00:01Z\n"
                + "A/B,2,1,sell,market,,2018-05-13T00:00:02.5Z\n"
            ).encode()
        )
    )
    assert pairs_in(file) == ("A/B", "C/D")
    recorded = read_recorded(file, ("A/B",), ns_of("2018-05-13T00:00:01Z"), None)
    assert recorded.trades == {"A/B": [Row(ns_of("2018-05-13T00:00:02.5Z"), 2, Decimal(2), Decimal(1), "sell")]}
    assert recorded.rows == 1


def test_broken_and_repeated_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    good = "A/B,1,1,buy,limit,7,2018-05-13T00:00:00Z\n"
    bad = [
        "A/B,nan,1,,,8,2018-05-13T00:00:00Z\n",
        "A/B,1,0,,,9,2018-05-13T00:00:00Z\n",
        "A/B,1,1,,,10,soon\n",
        "A/B,1,1,short,,11,2018-05-13T00:00:00Z\n",
    ]
    file.write_text(HEAD + good + good + "".join(bad))
    recorded = read_recorded(file, ("A/B",), None, None)
    assert (len(recorded.trades["A/B"]), recorded.rows, recorded.broken, recorded.repeated) == (1, 6, 4, 1)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01.000000001Z", 1_000_000_001),
        ("1970-01-01 00:00:01.5", 1_500_000_000),
        ("1970-01-01T01:00:00.25+01:00", 250_000_000),
        ("1526169600000000001", 1_526_169_600_000_000_001),
    ],
)
def test_times_keep_their_nanoseconds(text: str, ns: int) -> None:
    assert ns_of(text) == ns


def test_file_of_another_shape_is_refused_with_the_missing_columns(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("time,price\n1,2\n")
    with pytest.raises(BadInputError, match="lacks the columns symbol, qty"):
        pairs_in(file)


@pytest.mark.component
def test_parquet_reads_as_the_csv_does(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow writes the test's file")
    from pyarrow import csv as arrow_csv  # noqa: PLC0415  # optional, checked above

    file = tmp_path / "trades.csv"
    file.write_text(
        HEAD
        + "A/B,105433.60000,0.00027625,buy,limit,10218208,2025-11-10T17:23:53.971744500Z\n"
        + "A/B,105410.10000,0.00005000,sell,market,10218209,2025-11-10T17:24:17.846737400Z\n"
    )
    parquet.write_table(arrow_csv.read_csv(file), tmp_path / "trades.parquet")
    assert read_recorded(tmp_path / "trades.parquet", ("A/B",), None, None) == read_recorded(file, ("A/B",), None, None)


BAD_ROWS = (
    "A/B,1",
    "A/B,1,1,buy",
    "A/B,1_0,1,buy,limit,8,2018-05-13T00:00:00Z",
    'A/B,"1,1,buy,limit,8,2018-05-13T00:00:00Z',
    "A/B,1,1,buy,limit,-8,2018-05-13T00:00:00Z",
    "A/B,1e400,1,buy,limit,8,2018-05-13T00:00:00Z",
    "A/B,1,1,buy,limit,8,2018-05-13",
    "A/B,1,1,buy,limit,8,2118-05-13T00:00:00Z",
    ",,,,,,",
    "",
    "junk",
    "x" * 5_000,
)


def test_stream_and_judge_refuse_the_same_rows(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    good = [f"A/B,{n},1,sell,market,{n},2018-05-13T00:00:0{n}.5Z" for n in (1, 2, 3)]
    file.write_text(HEAD + "\n".join([good[0], *BAD_ROWS, *good[1:]]) + "\n", encoding="utf-8-sig")
    read = [item for item in read_trades(IngestSettings(source=f"replay:{file}", pairs=())) if isinstance(item, Trade)]
    judged = read_recorded(file, pairs_in(file), None, None).trades["A/B"]
    assert [trade.trade_id for trade in judged] == [1, 2, 3]
    assert [(t.ts_ns, t.trade_id, t.price) for t in read] == [(r.ts_ns, r.trade_id, float(r.price)) for r in judged]


def test_optional_columns_may_be_missing_and_stand_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text("Timestamp,symbol,qty,price\r\n2018-05-13T00:00:00Z,A/B,2,1\r\n")
    recorded = read_recorded(file, pairs_in(file), None, None)
    assert recorded.trades == {"A/B": [Row(ns_of("2018-05-13"), 1, Decimal(1), Decimal(2), "")]}
