"""Live features against tulipy over whole histories, under corrections and restarts."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import tulipy
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.features import FEATURE_NAMES
from tables.features.bulk import feature_matrix
from tables.features.catalog import CATALOG, PERIODS
from tables.features.fold import SILENCE_MS, PairFeatures, features_key, refusal
from tables.records import MINUTE_MS, TIMEFRAME_MS, TIMEFRAMES, Candle, Timeframe
from tests.support.market import SCALES, columns, market, steady
from tests.tables.features.conformance import REVISABLE_MS, folded, values_of, wrong

PAIR = "BTC/USD"
NOTHING: dict[bytes, bytes] = {}


@pytest.mark.parametrize("scale", SCALES)
def test_live_features_equal_the_bulk_path_over_the_whole_history(scale: float) -> None:
    candles = market(3_000, scale, silences=5)
    live, bulk = folded(CATALOG, candles), feature_matrix(columns(candles), MINUTE_MS)
    for at, name in enumerate(FEATURE_NAMES):
        ours, theirs = live[:, at], bulk[:, at]
        assert (np.isnan(ours) == np.isnan(theirs)).all(), name
        # A difference of sums near zero is measured against the size of its parts.
        assert np.nanmax(np.abs(ours - theirs)) <= 1e-9 * np.nanmax(np.abs(theirs)), name


@pytest.mark.parametrize("scale", SCALES)
def test_recurrences_are_bit_identical_to_tulipy(scale: float) -> None:
    candles = market(3_000, scale, silences=5)
    live = dict(zip(FEATURE_NAMES, folded(CATALOG, candles).T, strict=True))
    high, low, close = (columns(candles)[name] for name in ("high", "low", "close"))
    for period in PERIODS:
        macd = tulipy.macd(close, period, 2 * period, period)
        expected = {
            "ema": tulipy.ema(close, period),
            "rsi": tulipy.rsi(close, period),
            "adx": tulipy.adx(high, low, close, period),
            **dict(zip(("macd", "macd_signal", "macd_hist"), macd, strict=True)),
        }
        for name, values in expected.items():
            ours = live[f"{name}_{period}"]
            warm = ours[~np.isnan(ours)]
            assert (warm == values).all(), (name, period)
    assert (live["atr_14"][13:] == tulipy.atr(high, low, close, 14)).all()


@settings(max_examples=25, deadline=None, print_blob=True)
@given(st.data())
def test_corrections_repeats_and_restarts_end_where_the_clean_history_ends(data: st.DataObject) -> None:
    true = market(160, 100.0, seed=data.draw(st.integers(0, 1_000)))
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    got: dict[int, list[float]] = {}

    def feed(candle: Candle) -> None:
        for row in fold.apply(candle):
            got[row.open_ms] = values_of(CATALOG, row.values)

    at = 0
    while at < len(true):
        bad = data.draw(st.integers(0, 5))
        for candle in true[at : at + bad]:
            feed(wrong(candle))
        for candle in true[at : at + bad]:
            feed(msgspec.structs.replace(candle, revision=1))
        at += bad
        if at < len(true):
            feed(true[at])
            feed(true[at])
            at += 1
        if data.draw(st.booleans()):
            table[features_key(PAIR, "1m")] = fold.pack()
            fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    assert list(got) == sorted(got)
    np.testing.assert_array_equal(np.array(list(got.values())), folded(CATALOG, true))


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize("restart", [False, True])
def test_any_candle_that_a_trade_can_still_reach_can_be_corrected(timeframe: str, restart: bool) -> None:
    step_ms = TIMEFRAME_MS[timeframe]  # type: ignore[index]  # one of the six
    true = market(190, 60_000.1, timeframe=timeframe, silences=0)
    expected = folded(CATALOG, true)
    # A trade of the newest candle's last millisecond lets in one that is older by the span, and no older one.
    last_ms = true[-1].open_ms + step_ms - 1
    reachable = [at for at, candle in enumerate(true) if candle.open_ms + step_ms > last_ms - REVISABLE_MS - MINUTE_MS]
    for at in reachable:
        table: dict[bytes, bytes] = {}
        fold = PairFeatures(PAIR, timeframe, REVISABLE_MS, table.get)
        for place, candle in enumerate(true):
            fold.apply(wrong(candle) if place == at else candle)
        if restart:
            table[features_key(PAIR, timeframe)] = fold.pack()
            fold = PairFeatures(PAIR, timeframe, REVISABLE_MS, table.get)
        rows = fold.apply(true[at])
        assert [row.open_ms for row in rows] == [candle.open_ms for candle in true[at:]]
        assert [row.bars for row in rows] == list(range(at + 1, len(true) + 1))
        np.testing.assert_array_equal(np.array([values_of(CATALOG, row.values) for row in rows]), expected[at:])
        for row, candle in zip(rows, true[at:], strict=True):
            fields = [name for name in row.__struct_fields__ if name in candle.__struct_fields__]
            assert all(getattr(row, name) == getattr(candle, name) for name in fields)


def test_clock_may_fill_hours_of_silence_before_the_correction_comes() -> None:
    traded = market(150, 100.0, silences=0)
    price = traded[-1].close
    minutes = SILENCE_MS // MINUTE_MS
    silence = [
        msgspec.structs.replace(candle, open_ms=traded[-1].open_ms + MINUTE_MS * (at + 1), closed_by="timer")
        for at, candle in enumerate(steady(minutes, price, 0.0))
    ]
    assert traded[-16].trades > 0
    true = [*traded, *silence]
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    for place, candle in enumerate(true):
        fold.apply(wrong(candle) if place == len(traded) - 16 else candle)
    table[features_key(PAIR, "1m")] = fold.pack()
    assert len(table[features_key(PAIR, "1m")]) < 4_096
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    rows = fold.apply(traded[-16])
    assert len(rows) == 16 + minutes
    found = np.array([values_of(CATALOG, row.values) for row in rows])
    np.testing.assert_array_equal(found, folded(CATALOG, true)[-len(rows) :])


def test_constant_series_gives_no_value_where_there_is_none() -> None:
    last = dict(zip(FEATURE_NAMES, folded(CATALOG, steady(150, 5.0, 0.0))[-1], strict=True))
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


def test_candle_that_came_before_gives_its_row_again_also_after_a_restart() -> None:
    candles = market(200, 100.0)
    table: dict[bytes, bytes] = {}
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)
    rows = [row for candle in candles for row in fold.apply(candle)]
    table[features_key(PAIR, "1m")] = fold.pack()
    for again in (fold, PairFeatures(PAIR, "1m", REVISABLE_MS, table.get)):
        for at in (-1, -2, -9):
            assert again.apply(candles[at]) == [rows[at]]
        assert again.pack() == table[features_key(PAIR, "1m")]


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
    np.testing.assert_array_equal(np.array([values_of(CATALOG, row.values) for row in rows]), folded(CATALOG, candles))


def test_candle_that_was_missing_behind_a_gap_is_taken() -> None:
    candles = market(160, 100.0, silences=0)
    late = 130
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, NOTHING.get)
    # All before it is out of the ring: it takes the place at its very front.
    for candle in (*candles[:100], *candles[late + 1 : late + 15]):
        fold.apply(candle)
    rows = fold.apply(candles[late])
    assert len(rows) == 15
    found = np.array([values_of(CATALOG, row.values) for row in rows])
    np.testing.assert_array_equal(found, folded(CATALOG, (*candles[:100], *candles[late : late + 15]))[-15:])


def test_warm_up_lengths_are_those_of_the_definitions() -> None:
    live = folded(CATALOG, market(200, 100.0, silences=0))
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


def test_sums_come_from_the_window_and_lose_no_digits() -> None:
    # A running sum would still carry the rounding of the volumes of a million, an hour after the last of them.
    candles = list(market(400, 100.0, silences=0))
    for at in range(200):
        candles[at] = msgspec.structs.replace(candles[at], volume=1e12 + 0.1 * at, quote_volume=1e14, buy_volume=1e11)
    for at in range(200, 400):
        candles[at] = msgspec.structs.replace(
            candles[at], volume=1e-7, quote_volume=1e-7 * candles[at].close, buy_volume=0.5e-7, trades=1
        )
    last = dict(zip(FEATURE_NAMES, folded(CATALOG, candles)[-1], strict=True))
    assert last["taker_imbalance_15"] == pytest.approx(0.0, abs=1e-12)
    assert last["volume_ratio_60"] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"timeframe": "2m"}, "timeframe-unknown"),
        ({"open_ms": -60_000}, "open-time-negative"),
        ({"close": 0.0}, "price-out-of-range"),
        ({"low": -1.0}, "price-out-of-range"),
        ({"open": math.inf}, "price-out-of-range"),
        ({"vwap": 5e-324}, "price-out-of-range"),
        ({"volume": -1.0}, "volume-out-of-range"),
        ({"buy_volume": math.inf}, "volume-out-of-range"),
        ({"quote_volume": 0.0}, "volume-without-price"),
        ({"volume": 0.0}, "volume-without-price"),
        ({"trades": -1}, "count-out-of-range"),
        ({"trades": 1 << 32}, "count-out-of-range"),
        ({"revision": -1}, "count-out-of-range"),
    ],
)
def test_candle_that_would_break_the_fold_is_named(changes: dict[str, object], reason: str) -> None:
    good = next(candle for candle in market(50, 100.0) if candle.trades)
    assert refusal(msgspec.structs.replace(good, **changes)) == reason


@settings(max_examples=20, deadline=None, print_blob=True)
@given(st.data())
def test_no_candle_that_is_not_refused_raises(data: st.DataObject) -> None:
    prices = st.floats(1e-99, 1e99)
    amounts = st.floats(1e-99, 1e99)
    fold = PairFeatures(PAIR, "1m", REVISABLE_MS, NOTHING.get)
    for candle in market(160, 100.0)[:-30]:
        fold.apply(candle)
    for candle in market(160, 100.0)[-30:]:
        odd = msgspec.structs.replace(
            candle,
            **{name: data.draw(prices) for name in ("high", "low", "close") if data.draw(st.booleans())},
            volume=(volume := data.draw(st.one_of(st.just(0.0), amounts))),
            quote_volume=data.draw(amounts) if volume else 0.0,
        )
        assert refusal(odd) == ""
        assert len(fold.apply(odd)) == 1
        fold.pack()


@pytest.mark.parametrize("timeframe", list(TIMEFRAME_MS))
def test_candle_can_be_corrected_as_long_as_a_trade_can_change_it(timeframe: Timeframe) -> None:
    """At every place of the ring: bars leave it several at a time."""
    step_ms = TIMEFRAME_MS[timeframe]
    fold = PairFeatures(PAIR, timeframe, REVISABLE_MS, NOTHING.get)
    candles = [
        msgspec.structs.replace(candle, timeframe=timeframe, open_ms=at * step_ms)
        for at, candle in enumerate(market(120, 100.0))
    ]
    for at, candle in enumerate(candles):
        fold.apply(candle)
        # The trade may be of the newest minute that the watermark lets go of, and its candle opens a step before that.
        oldest_ms = candle.open_ms - REVISABLE_MS - step_ms
        for back in range(1, at + 1):
            known = candles[at - back]
            if known.open_ms <= oldest_ms or back > 20:
                break
            assert fold.apply(known), (candle.open_ms, back)
