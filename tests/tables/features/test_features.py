"""Live features against tulipy over whole histories, under corrections and restarts."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import tulipy
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.features import FEATURE_NAMES
from tables.features.bulk import Array, feature_matrix
from tables.features.catalog import PERIODS
from tables.features.fold import PairFeatures, features_key
from tables.records import MINUTE_MS, Candle

PAIR = "BTC/USD"
NOTHING: dict[bytes, bytes] = {}
REVISABLE_MS = 902_000


def market(bars: int, scale: float, seed: int = 7) -> list[Candle]:
    """Random bars with flat and silent stretches."""
    random = np.random.default_rng(seed)
    moves = random.normal(0, 1e-3, bars) * (random.random(bars) > 0.2)
    close = scale * np.exp(np.cumsum(moves))
    opened = np.concatenate(([scale], close[:-1]))
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 5e-4, bars)) * (random.random(bars) > 0.3))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 5e-4, bars)) * (random.random(bars) > 0.3))
    volume = random.exponential(3.0, bars) * (random.random(bars) > 0.1)
    candles = []
    for at in range(bars):
        silent = volume[at] == 0
        price = float(close[at])
        candles.append(
            Candle(
                pair=PAIR,
                timeframe="1m",
                open_ms=at * MINUTE_MS,
                open=float(opened[at]),
                high=float(high[at]),
                low=float(low[at]),
                close=price,
                volume=float(volume[at]),
                quote_volume=float(volume[at] * (high[at] + low[at]) / 2),
                buy_volume=float(volume[at] * random.random()),
                trades=0 if silent else int(random.integers(1, 50)),
                vwap=price,
                first_trade_id=1,
                last_trade_id=2,
                closed=True,
                revision=0,
                synthetic=bool(silent),
                closed_by="watermark",
                source="sim",
            )
        )
    return candles


def columns(candles: list[Candle]) -> dict[str, npt.NDArray[np.generic]]:
    names = ("open_ms", "high", "low", "close", "volume", "quote_volume", "buy_volume", "trades")
    return {name: np.array([getattr(candle, name) for candle in candles]) for name in names}


def folded(candles: list[Candle]) -> Array:
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, NOTHING.get)
    return np.array([row_values(fold.apply(candle)[0].values) for candle in candles])


def row_values(values: dict[str, float | None]) -> list[float]:
    assert tuple(values) == FEATURE_NAMES
    return [math.nan if value is None else value for value in values.values()]


@pytest.mark.parametrize("scale", [60_000.0, 1.0002, 1.2e-5])
def test_live_features_equal_the_bulk_path_over_the_whole_history(scale: float) -> None:
    candles = market(3_000, scale)
    live, bulk = folded(candles), feature_matrix(columns(candles), MINUTE_MS)
    for at, name in enumerate(FEATURE_NAMES):
        ours, theirs = live[:, at], bulk[:, at]
        assert (np.isnan(ours) == np.isnan(theirs)).all(), name
        # A difference of sums near zero is measured against the size of its parts.
        size = np.nanmax(np.abs(theirs))
        assert np.nanmax(np.abs(ours - theirs)) <= 1e-9 * size, name


@pytest.mark.parametrize("scale", [60_000.0, 1.0002, 1.2e-5])
def test_recurrences_are_bit_identical_to_tulipy(scale: float) -> None:
    candles = market(3_000, scale)
    live = dict(zip(FEATURE_NAMES, folded(candles).T, strict=True))
    high, low, close = (columns(candles)[name] for name in ("high", "low", "close"))
    for period in PERIODS:
        expected = {
            "ema": tulipy.ema(close, period),
            "rsi": tulipy.rsi(close, period),
            "adx": tulipy.adx(high, low, close, period),
            **dict(
                zip(
                    ("macd", "macd_signal", "macd_hist"),
                    tulipy.macd(close, period, 2 * period, period),
                    strict=True,
                )
            ),
        }
        for name, values in expected.items():
            ours = live[f"{name}_{period}"]
            warm = ours[~np.isnan(ours)]
            assert (warm == values).all(), (name, period)
    assert (live["atr_14"][13:] == tulipy.atr(high, low, close, 14)).all()


@settings(max_examples=40, deadline=None, print_blob=True)
@given(st.data())
def test_corrections_repeats_and_restarts_end_where_the_clean_history_ends(data: st.DataObject) -> None:
    true = market(160, 100.0, seed=data.draw(st.integers(0, 1_000)))
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    got: dict[int, list[float]] = {}

    def feed(candle: Candle) -> None:
        for row in fold.apply(candle):
            got[row.open_ms] = row_values(row.values)

    at = 0
    while at < len(true):
        wrong = data.draw(st.integers(0, 5))
        for candle in true[at : at + wrong]:
            fields = {name: getattr(candle, name) for name in candle.__struct_fields__}
            feed(Candle(**{**fields, "close": candle.close * 1.01, "high": candle.high * 1.02}))
        for candle in true[at : at + wrong]:
            fields = {name: getattr(candle, name) for name in candle.__struct_fields__}
            feed(Candle(**{**fields, "revision": 1}))
        at += wrong
        if at < len(true):
            feed(true[at])
            feed(true[at])
            at += 1
        if data.draw(st.booleans()):
            table[features_key(PAIR, "1m")] = fold.pack()
            fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    expected = folded(true)
    assert list(got) == sorted(got)
    np.testing.assert_array_equal(np.array(list(got.values())), expected)


def test_constant_series_gives_no_value_where_there_is_none() -> None:
    candles = [
        Candle(
            PAIR, "1m", at * MINUTE_MS, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0, 5.0, -1, -1, True, 0, True, "timer", "sim"
        )
        for at in range(150)
    ]
    last = dict(zip(FEATURE_NAMES, folded(candles)[-1], strict=True))
    assert all(math.isnan(last[f"{name}_{period}"]) for name in ("rsi", "adx") for period in PERIODS)
    assert last["ema_60"] == last["sma_7"] == last["bb_upper_20"] == 5.0
    assert last["ewma_vol_60"] == last["taker_imbalance_5"] == last["volume_ratio_60"] == 0.0


def test_candle_older_than_the_ring_changes_nothing() -> None:
    candles = market(200, 100.0)
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, NOTHING.get)
    for candle in candles:
        fold.apply(candle)
    before = fold.pack()
    assert fold.apply(candles[3]) == []
    assert fold.pack() == before


@pytest.mark.parametrize("newest", [1, 5, 15])
def test_candle_before_the_very_first_one_is_taken_while_the_ring_holds_all(newest: int) -> None:
    candles = market(80, 100.0)
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    for candle in candles[1 : newest + 1]:
        fold.apply(candle)
    table[features_key(PAIR, "1m")] = fold.pack()
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    rows = fold.apply(candles[0])
    assert [row.open_ms for row in rows] == [candle.open_ms for candle in candles[: newest + 1]]
    assert [row.bars for row in rows] == list(range(1, newest + 2))
    for candle in candles[newest + 1 :]:
        rows += fold.apply(candle)
    np.testing.assert_array_equal(np.array([row_values(row.values) for row in rows]), folded(candles))


def test_warm_up_lengths_are_those_of_the_definitions() -> None:
    live = folded(market(200, 100.0))
    first = {name: int(np.argmax(~np.isnan(live[:, at]))) for at, name in enumerate(FEATURE_NAMES)}
    for period in PERIODS:
        assert first[f"sma_{period}"] == period - 1
        assert first[f"ema_{period}"] == 0
        assert first[f"rsi_{period}"] == period
        assert first[f"adx_{period}"] == 2 * period - 2
        assert first[f"macd_{period}"] == 2 * period - 1
    assert first["log_return_60"] == first["rv_60"] == first["obv_change_60"] == 60
    assert max(first.values()) < 120


def test_candle_of_older_trades_undoes_nothing() -> None:
    """A worker that lost its partitions unawares sends such candles, and a replay after a crash repeats them."""
    true = [msgspec.structs.replace(candle, as_of_ms=1_000 + at) for at, candle in enumerate(market(80, 100.0))]
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    rows = [row for candle in true for row in fold.apply(candle)]
    stale = msgspec.structs.replace(true[-2], as_of_ms=true[-2].as_of_ms - 1, close=1.0, low=1.0)
    before = fold.pack()
    assert fold.apply(stale) == []
    assert fold.pack() == before
    table[features_key(PAIR, "1m")] = before
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    assert fold.apply(stale) == []
    assert fold.apply(true[-1]) == rows[-1:]
    corrected = msgspec.structs.replace(true[-2], as_of_ms=2_000, close=101.0, high=102.0)
    assert [(row.open_ms, row.as_of_ms) for row in fold.apply(corrected)] == [
        (candle.open_ms, 2_000) for candle in true[-2:]
    ]
