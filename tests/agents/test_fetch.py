"""What aiokafka has fetched is handed over whole: the same records, from the same place, as aiokafka would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED
from aiokafka.errors import CorruptRecordException
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.fetched import LZ4, batch_of, fetched

CONTROL_BIT = 0x20
ATTRIBUTES_AT = 22
"""Its low byte in a batch; the checksum before it covers it."""


def batch(first: int, offsets: Sequence[int], compression: int = 0) -> bytes:
    """Give a batch whose records lie at `first` plus each of `offsets`, as a compacted log has them."""
    return batch_of(
        first,
        [(at, b"BTC/USD", None if at % 5 == 4 else b"%d" % (first + at)) for at in offsets],
        compression,
    )


def told(records: list[Any]) -> list[tuple[Any, ...]]:
    return [(one.offset, one.timestamp, one.key, one.value) for one in records]


LOGS = st.lists(
    st.tuples(
        st.integers(0, 3), st.lists(st.integers(0, 30), unique=True, min_size=1).map(sorted), st.sampled_from([0, LZ4])
    ),
    min_size=1,
    max_size=4,
)


@given(LOGS, st.integers(0, 40), st.sampled_from([None, 1, 7]), st.sampled_from([READ_UNCOMMITTED, READ_COMMITTED]))
@example([(0, [0, 1, 2], 0), (1, [0, 5], 3)], 2, None, READ_UNCOMMITTED)
def test_records_are_those_that_aiokafka_gives(
    parts: list[tuple[int, list[int], int]], at: int, limit: int | None, isolation: int
) -> None:
    log, first = b"", 0
    for gap, offsets, compression in parts:
        if first + gap + offsets[-1] >= at:  # a broker begins with the batch that holds the position
            log += batch(first + gap, offsets, compression)
        first += gap + offsets[-1] + 1
    assume(log)
    quick, quick_state = fetched(log, at, quick=True, isolation=isolation)
    slow, slow_state = fetched(log, at, quick=False, isolation=isolation)
    for _ in range(3):
        assert told(quick.getall(limit)) == told(slow.getall(limit))
        assert quick_state.position == slow_state.position
        assert quick.has_more() == slow.has_more()
        if not slow.has_more():
            break


def test_markers_of_transactions_are_no_records() -> None:
    marker = bytearray(batch(2, [0]))
    marker[ATTRIBUTES_AT] |= CONTROL_BIT
    log = batch(0, [0, 1]) + bytes(marker) + batch(3, [0])
    result, state = fetched(log, 0, quick=True)
    result._partition_records._check_crcs = False  # the marker's no longer fits
    assert [one.offset for one in result.getall()] == [0, 1, 3]
    assert state.position == 4


def test_broken_batch_is_fetched_again_and_not_passed_over() -> None:
    broken = bytearray(batch(2, [0, 1]))
    broken[-1] ^= 1
    result, state = fetched(batch(0, [0, 1]) + bytes(broken) + batch(4, [0]), 0, quick=True)
    with pytest.raises(CorruptRecordException):
        result.getall()
    assert result.getall() == []
    assert not result.has_more(), "aiokafka keeps what is broken"
    assert state.position == 0
