"""Open ranges of trade ids: a flat list `[lo, hi, lo, hi, ...]`, inclusive, sorted, never touching."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["add_id", "add_range", "count_ids", "has_id", "holes"]


def has_id(ranges: list[int], trade_id: int) -> bool:
    """Tell whether `trade_id` lies in one of the ranges."""
    at = bisect_right(ranges, trade_id)
    # Odd position: behind a lo and before its hi. Even position: the id may be exactly the hi before it.
    return bool(at & 1) or (at > 0 and ranges[at - 1] == trade_id)


def add_id(ranges: list[int], trade_id: int) -> bool:
    """Add one id in place; False where it was there already."""
    if ranges and trade_id == ranges[-1] + 1:
        ranges[-1] = trade_id
        return True
    if has_id(ranges, trade_id):
        return False
    add_range(ranges, trade_id, trade_id)
    return True


def add_range(ranges: list[int], low: int, high: int) -> None:
    """Add all ids from `low` to `high`, both included, in place; overlap is allowed."""
    if ranges and low == ranges[-1] + 1:
        ranges[-1] = high
        return
    first = bisect_right(ranges, low - 1)
    first -= first & 1
    if first >= 2 and ranges[first - 1] >= low - 1:  # noqa: PLR2004  # a range is two entries
        first -= 2
    last = first
    while last < len(ranges) and ranges[last] <= high + 1:
        low = min(low, ranges[last])
        high = max(high, ranges[last + 1])
        last += 2
    ranges[first:last] = [low, high]


def count_ids(ranges: list[int]) -> int:
    """Count the ids in all ranges."""
    return sum(ranges[1::2]) - sum(ranges[::2]) + len(ranges) // 2


def holes(ranges: list[int]) -> Iterable[tuple[int, int]]:
    """Yield the missing ids between the ranges as inclusive (low, high)."""
    for at in range(1, len(ranges) - 1, 2):
        yield ranges[at] + 1, ranges[at + 1] - 1
