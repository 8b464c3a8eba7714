"""No row of a point-in-time set sees anything that closed after its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpanda.errors import BadInputError
from tables.clickhouse import rows
from tables.records import MINUTE_MS
from tables.serving.known import align, point_in_time
from tests.support.samples import START_MS, features

if TYPE_CHECKING:
    from clickhouse_connect.driver import Client

PAIRS = ("A/USD", "B/USD", "C/USD")
BARS = st.sets(st.tuples(st.sampled_from(PAIRS[:2]), st.integers(0, 12)), max_size=20)
ASKED = st.lists(st.tuples(st.sampled_from(PAIRS), st.integers(-2, 60)), max_size=20)


@given(bars=BARS, asked=ASKED, age=st.integers(1, 30), data=st.data())
def test_row_is_the_newest_that_had_closed_and_was_known(
    bars: set[tuple[str, int]], asked: list[tuple[str, int]], age: int, data: st.DataObject
) -> None:
    """Bars of four units; against the plain definition."""
    ordered = sorted(bars)
    by_log = data.draw(st.booleans())
    table: dict[str, Any] = {
        "pair": np.array([pair for pair, _ in ordered], dtype=str),
        "open_ms": np.array([4 * at for _, at in ordered], dtype=np.int64),
    }
    seen = [data.draw(st.integers(0, 60)) if by_log else 0 for _ in ordered]
    if by_log:
        table["as_of_ms"] = np.array(seen, dtype=np.int64)
    pairs = np.array([pair for pair, _ in asked], dtype=str)
    times = np.array([time for _, time in asked], dtype=np.int64)
    found = align(table, pairs, times, 4, age)
    for (pair, time), at in zip(asked, found.tolist(), strict=True):
        allowed = [
            row
            for row, (other, bar) in enumerate(ordered)
            if other == pair and 4 * bar + 4 <= time and (not by_log or seen[row] <= time)
        ]
        best = max(allowed, default=-1)
        fresh = best >= 0 and time - (4 * ordered[best][1] + 4) < age
        assert at == (best if fresh else -1)


@pytest.mark.component
def test_no_row_uses_a_feature_that_closed_after_the_label_time(store_client: Client) -> None:
    written = [features(at, float(at), pair=pair) for pair in ("BTC/USD", "ETH/USD") for at in range(30) if at != 20]
    rows.insert_features(store_client, written, "a")
    times = [START_MS + at * 7_000 for at in range(-5, 30 * 9)]
    pairs = ["BTC/USD" if at % 2 else "ETH/USD" for at in range(len(times))]
    found = point_in_time(store_client, pairs, times)
    known = found["open_ms"] >= 0
    assert (found["open_ms"][known] + MINUTE_MS <= found["time_ms"][known]).all()
    assert (found["time_ms"][known] - found["open_ms"][known] - MINUTE_MS < MINUTE_MS).all()
    assert (found["rsi_14"][known] == (found["open_ms"][known] - START_MS) // MINUTE_MS).all()
    assert np.isnan(found["rsi_14"][~known]).all()
    assert found["pair"].tolist() == pairs
    # Nothing before the first close and after the last one's minute, nor in the minute after the missing bar.
    minutes = [(time - START_MS) // MINUTE_MS for time in times]
    assert known.tolist() == [1 <= minute <= 30 and minute != 21 for minute in minutes]
    older = point_in_time(store_client, pairs, times, max_age_ms=2 * MINUTE_MS)
    assert (older["open_ms"] >= 0).tolist() == [1 <= minute <= 31 for minute in minutes]


@pytest.mark.component
def test_correction_that_came_later_is_left_out_where_the_log_decides(store_client: Client) -> None:
    written = [features(at, float(at), as_of_ms=START_MS + (at + 1) * MINUTE_MS) for at in range(5)]
    late = msgspec.structs.replace(written[4], revision=1, as_of_ms=START_MS + 9 * MINUTE_MS)
    rows.insert_features(store_client, [*written, late], "a")
    time_ms = START_MS + 5 * MINUTE_MS
    plain = point_in_time(store_client, ["BTC/USD"], [time_ms], max_age_ms=5 * MINUTE_MS)
    assert (plain["open_ms"].tolist(), plain["revision"].tolist()) == ([late.open_ms], [1])
    strict = point_in_time(store_client, ["BTC/USD"], [time_ms], max_age_ms=5 * MINUTE_MS, by_log=True)
    assert (strict["open_ms"].tolist(), strict["revision"].tolist()) == ([written[3].open_ms], [0])


@pytest.mark.component
def test_nothing_asked_gives_nothing_and_uneven_rows_are_refused(store_client: Client) -> None:
    assert {len(column) for column in point_in_time(store_client, [], []).values()} == {0}
    with pytest.raises(BadInputError, match="one of each"):
        point_in_time(store_client, ["BTC/USD"], [])
