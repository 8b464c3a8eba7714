from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.views import KINDS_MAX, Channel, MarketView, Record, Update
from redpanda.errors import BadInputError
from tables.records import Candle, Forecast
from tests.support.samples import START_MS, candle, forecast, forecast_error

HISTORY = 5
RING = 8
PAIRS = ("BTC/USD", "ETH/USD")

forecasts = st.lists(
    st.builds(
        forecast,
        st.integers(0, 20),
        st.sampled_from(PAIRS),
        st.sampled_from((60, 300)),
        revision=st.integers(0, 2),
    ),
    max_size=40,
)
candles = st.lists(
    st.builds(
        candle,
        st.integers(0, 12),
        st.sampled_from(PAIRS),
        st.sampled_from(("1m", "5m")),
        revision=st.integers(0, 3),
    ),
    max_size=60,
)


def new_view() -> MarketView:
    return MarketView(history=HISTORY, ring=RING)


def fold(view: MarketView, rows: Sequence[Record], start: int = 0) -> list[Update]:
    channel: Channel = "forecasts" if rows and isinstance(rows[0], Forecast) else "candles"
    updates = (view.apply(channel, row, cursor, start) for cursor, row in enumerate(rows, start))
    return [update for update in updates if update is not None]


@given(forecasts)
def test_latest_forecast_is_the_newest_of_its_pair_and_horizon(rows: list[Forecast]) -> None:
    view = new_view()
    fold(view, rows)
    newest: dict[tuple[str, int], tuple[int, int]] = {}
    for row in rows:
        key = (row.pair, row.horizon_s)
        newest[key] = max(newest.get(key, (0, 0)), (row.feature_open_ms, row.revision))
    shown = {(row.pair, row.horizon_s): (row.feature_open_ms, row.revision) for row in view.latest_forecasts()}
    assert shown == newest


@given(candles, st.randoms(use_true_random=False))
def test_candles_kept_do_not_depend_on_arrival_while_they_fit(rows: list[Candle], random: object) -> None:
    rows = [row for row in rows if row.open_ms < START_MS + HISTORY * 60_000]
    view, shuffled_view = new_view(), new_view()
    fold(view, rows)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis hands out a random.Random
    fold(shuffled_view, shuffled)
    for pair in PAIRS:
        for timeframe in ("1m", "5m"):
            assert list(view.candles(pair, timeframe)) == list(shuffled_view.candles(pair, timeframe))


@given(candles)
def test_series_holds_the_newest_windows_in_order_and_no_more(rows: list[Candle]) -> None:
    view = new_view()
    fold(view, rows)
    for pair in PAIRS:
        for timeframe in ("1m", "5m"):
            opens = [row.open_ms for row in view.candles(pair, timeframe)]
            seen = {row.open_ms for row in rows if (row.pair, row.timeframe) == (pair, timeframe)}
            assert opens == sorted(seen, reverse=True)[:HISTORY]


@given(candles)
def test_a_repeated_record_tells_nothing(rows: list[Candle]) -> None:
    view = new_view()
    for cursor, row in enumerate(rows):
        view.apply("candles", row, cursor)
        kept = row in list(view.candles(row.pair, row.timeframe))
        if kept:
            assert view.apply("candles", row, cursor) is None


@given(st.one_of(candles, forecasts), st.integers(0, 1_000))
def test_sequence_numbers_have_no_holes_and_cursors_grow(rows: list[Candle] | list[Forecast], start: int) -> None:
    view = new_view()
    updates = fold(view, rows, start)
    for pair in PAIRS:
        mine = [update for update in updates if update.pair == pair]
        assert [update.seq for update in mine] == list(range(1, len(mine) + 1))
        cursors = [update.cursor for update in mine]
        assert cursors == sorted(set(cursors))


@given(st.one_of(candles, forecasts), st.integers(0, 50), st.integers(-2, 120))
def test_resume_gives_all_updates_after_a_cursor_or_nothing(
    rows: list[Candle] | list[Forecast], start: int, cursor: int
) -> None:
    view = new_view()
    updates = fold(view, rows, start)
    channel = updates[0].channel if updates else "candles"
    for pair in PAIRS:
        mine = [update for update in updates if update.pair == pair]
        answer = view.since(channel, pair, cursor)
        expected = [update for update in mine if update.cursor > cursor]
        if answer is not None:
            assert answer == expected
        if mine and len(expected) <= RING and start - 1 <= cursor <= mine[-1].cursor:
            assert answer == expected


def test_a_cursor_before_the_look_back_or_beyond_the_end_is_a_gap() -> None:
    view = new_view()
    view.apply("candles", candle(0), 100, first_cursor=90)
    assert view.since("candles", "BTC/USD", 88) is None
    assert view.since("candles", "BTC/USD", 101) is None
    assert [update.cursor for update in view.since("candles", "BTC/USD", 89) or []] == [100]


def test_an_older_revision_changes_nothing() -> None:
    view = new_view()
    view.apply("candles", candle(0, revision=1), 1)
    assert view.apply("candles", candle(0, close=1.0), 2) is None
    assert [row.revision for row in view.candles("BTC/USD", "1m")] == [1]


def test_a_closed_candle_ends_the_open_one() -> None:
    view = new_view()
    opened = candle(1, closed=False)
    assert view.apply("candles-live", opened, 1) is not None
    assert view.snapshot("candles-live", "BTC/USD") == [opened]
    view.apply("candles", candle(1), 1)
    assert view.snapshot("candles-live", "BTC/USD") == []
    assert view.apply("candles-live", opened, 2) is None


def test_an_open_candle_never_goes_back() -> None:
    view = new_view()
    view.apply("candles-live", candle(2, closed=False), 1)
    assert view.apply("candles-live", candle(1, closed=False), 2) is None


def test_candles_snapshot_is_the_last_one_of_each_timeframe() -> None:
    view = new_view()
    fold(view, [candle(0), candle(1), candle(0, timeframe="5m")])
    rows = view.snapshot("candles", "BTC/USD")
    assert [(row.timeframe, row.open_ms) for row in rows if isinstance(row, Candle)] == [
        ("1m", START_MS + 60_000),
        ("5m", START_MS),
    ]


def test_more_pairs_than_allowed_are_bad_input() -> None:
    view = MarketView(history=HISTORY, ring=RING, pairs_max=1)
    view.apply("candles", candle(0), 1)
    with pytest.raises(BadInputError, match="ETH/USD"):
        view.apply("candles", candle(0, pair="ETH/USD"), 2)


def test_cleared_view_starts_anew() -> None:
    view = new_view()
    fold(view, [candle(0), candle(1)])
    view.clear()
    assert not view.pairs()
    assert view.position("candles", "BTC/USD") == (0, -1)


def test_errors_snapshot_is_the_newest_of_each_horizon_and_model() -> None:
    view = new_view()
    rows = [
        forecast_error(1),
        forecast_error(1, outcome_revision=1),
        forecast_error(0),
        forecast_error(0, horizon_s=300),
        forecast_error(0, model="catboost"),
        forecast_error(0, pair="ETH/USD"),
    ]
    updates = [view.apply("errors", row, cursor) for cursor, row in enumerate(rows)]
    assert [update and update.seq for update in updates] == [1, 2, 3, 4, 5, 1]
    assert view.apply("errors", rows[1], 9) is None
    assert view.snapshot("errors", "BTC/USD") == [rows[4], rows[1], rows[3]]


def test_a_record_that_tells_nothing_new_still_moves_how_far_a_client_may_resume() -> None:
    view = new_view()
    view.apply("candles", candle(0), 10)
    assert (view.is_ahead("candles", "BTC/USD", 11), view.since("candles", "BTC/USD", 11)) == (True, None)
    view.apply("candles", candle(0), 11)
    assert (view.is_ahead("candles", "BTC/USD", 11), view.since("candles", "BTC/USD", 11)) == (False, [])
    assert view.position("candles", "BTC/USD") == (1, 10)


def test_made_up_timeframes_and_horizons_cannot_fill_memory() -> None:
    view = new_view()
    with pytest.raises(BadInputError, match="2m"):
        view.apply("candles", msgspec.structs.replace(candle(0), timeframe="2m"), 1)
    for horizon_s in range(1, KINDS_MAX + 1):
        view.apply("forecasts", forecast(0, horizon_s=horizon_s), horizon_s)
        view.apply("errors", forecast_error(0, horizon_s=horizon_s), horizon_s)
    with pytest.raises(BadInputError, match="one more than"):
        view.apply("forecasts", forecast(0, horizon_s=9_999), 100)
    with pytest.raises(BadInputError, match="one more than"):
        view.apply("errors", forecast_error(0, model="other"), 100)
    assert view.apply("errors", forecast_error(1, horizon_s=KINDS_MAX), 101) is not None
