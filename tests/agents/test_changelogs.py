"""A changelog that was cut at its head is whole exactly when what is left fills the same table."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.changelogs import Place, Tally, Verdict, is_plain, judge, mark_key, rows_header

PARTITION = 2
Table = dict[bytes, bytes]


class Record(NamedTuple):
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def record(key: bytes, value: bytes | None, rows: int | None = None) -> Record:
    return Record(key, value, () if rows is None else tuple(rows_header(rows).items()))


def written(keys: list[int]) -> tuple[list[Record], Table]:
    """What a worker sends that writes these keys one after the other, and its table."""
    table: Table = {}
    log = []
    for at, number in enumerate(keys):
        key = b"key-%d" % number
        table[key] = b"%d" % at
        log.append(record(key, table[key], len(table)))
    return log, table


def filled(log: list[Record]) -> Table:
    return {one.key: one.value for one in log if one.value is not None and one.key != mark_key(PARTITION)}


def tally(log: list[Any]) -> Tally:
    found = Tally(PARTITION)
    found.take(log[: len(log) // 2])
    found.take(log[len(log) // 2 :])
    return found


@settings(deadline=None)
@given(keys=st.lists(st.integers(0, 6), min_size=1, max_size=30), data=st.data())
def test_whole_is_what_fills_the_same_table(keys: list[int], data: st.DataObject) -> None:
    log, table = written(keys)
    cut = data.draw(st.integers(0, len(log) - 1))
    left = log[cut:]
    left = [
        one for at, one in enumerate(left) if data.draw(st.booleans()) or one.key not in {r.key for r in left[at + 1 :]}
    ]
    assert tally(left).is_whole == (filled(left) == table)


@settings(deadline=None)
@given(
    before=st.lists(st.integers(0, 6), max_size=10),
    rebuilt=st.sets(st.integers(0, 6), min_size=1),
    after=st.lists(st.integers(0, 6), max_size=10),
    data=st.data(),
)
def test_a_rebuild_counts_anew(before: list[int], rebuilt: set[int], after: list[int], data: st.DataObject) -> None:
    log, _ = written(before)
    log = log[data.draw(st.integers(0, len(log))) :]
    counted = tally(log)
    for number in sorted(rebuilt):
        log.append(record(b"key-%d" % number, b"rebuilt"))
        counted.keys.add(b"key-%d" % number)
    log.append(record(mark_key(PARTITION), b"{}", len(counted.keys)))
    table = filled(log)
    for number in after:
        table[b"key-%d" % number] = b"after"
        log.append(record(b"key-%d" % number, b"after", len(table)))
    assert tally(log).mark == b"{}"
    assert tally(log).is_whole
    left = log[data.draw(st.integers(0, len(log) - 1)) :]
    told = any(one.headers for one in left)
    assert tally(left).is_whole == (told and filled(left) == table)


def test_deleted_row_is_no_row() -> None:
    log = [record(b"a", b"1", 1), record(b"b", b"1", 2), record(b"a", None, 1)]
    assert tally(log).keys == {b"b"}


def test_records_that_do_not_count_make_nothing_whole() -> None:
    assert not tally([]).is_whole
    assert not tally([record(b"a", b"1")]).is_whole
    assert not tally([record(b"a", b"1"), record(mark_key(PARTITION), b"{}")]).is_whole


def test_last_record_of_a_worker_that_lost_its_partition_does_not_lower_the_count() -> None:
    assert not tally([record(b"a", b"1", 3), record(b"b", b"1", 3), record(b"b", b"0", 2)]).is_whole


@pytest.mark.parametrize(
    ("place", "mark", "whole", "verdict"),
    [
        (Place(9, 0, 10, 1), None, False, Verdict.READ),
        (Place(9, 10, 20, 1), None, False, Verdict.READ),
        (Place(8, 10, 20, 1), None, False, Verdict.LOST),
        (Place(8, 10, 20, 1), b"2", False, Verdict.LOST),
        (Place(8, 10, 20, 1), None, True, Verdict.START_OVER),
        (Place(None, 10, 20, 1), None, True, Verdict.START_OVER),
        (Place(None, 10, 20, 1), None, False, Verdict.LOST),
        (Place(None, 0, 20, 1), None, False, Verdict.READ),
        (Place(30, 0, 20, 1), None, True, Verdict.LOST),
        (Place(30, 0, 20, 1), b"2", True, Verdict.START_OVER),
        (Place(30, 0, 20, 1, b"1"), b"2", True, Verdict.START_OVER),
        (Place(30, 0, 20, 1, b"2"), b"2", True, Verdict.LOST),
        (Place(30, 0, 20, 1, b"1"), None, True, Verdict.LOST),
        (Place(30, 0, 20, None), None, False, Verdict.START_OVER),
        (Place(None, 0, 0, 1), None, False, Verdict.LOST),
        (Place(None, 0, 0, None), None, False, Verdict.READ),
    ],
)
def test_verdicts(place: Place, mark: bytes | None, whole: bool, verdict: Verdict) -> None:
    assert judge(place, mark=mark, whole=whole, has_outputs=True)[0] is verdict
    assert is_plain(place) <= (verdict is Verdict.READ)


def test_what_can_be_learned_again_begins_anew_where_anything_else_is_lost() -> None:
    cut = Place(reached=None, first=5, end=9, committed=40)
    assert judge(cut, mark=None, whole=False, has_outputs=True)[0] is Verdict.LOST
    verdict, reason = judge(cut, mark=None, whole=False, has_outputs=True, expendable=True)
    assert verdict is Verdict.START_OVER
    assert "learned again" in reason
