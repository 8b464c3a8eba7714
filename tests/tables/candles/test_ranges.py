"""Open ranges of trade ids behave like a set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tables.candles.ranges import add_id, add_range, count_ids, has_id, holes


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8))))
def test_ranges_are_a_set_of_ids(spans: list[tuple[int, int]]) -> None:
    ranges: list[int] = []
    ids: set[int] = set()
    for low, width in spans:
        if width == 0:
            assert add_id(ranges, low) == (low not in ids)
        else:
            add_range(ranges, low, low + width)
        ids |= set(range(low, low + width + 1))
        assert count_ids(ranges) == len(ids)
        assert all(has_id(ranges, one) == (one in ids) for one in range(75))
    missing = {one for low, high in holes(ranges) for one in range(low, high + 1)}
    assert missing == (set(range(min(ids), max(ids))) - ids if ids else set())
