"""Since when the feed has been up: a pair that is silent, or one whose trades are yet to come."""

from __future__ import annotations

__all__ = ["FeedClock"]


class FeedClock:
    """Follows the live trades of all pairs of a worker.

    Where the feed was down, or the history of a pair is still being read, its trades will come: filling the time
    with flat candles would only make corrections, and more of them than the features can take back.
    """

    def __init__(self, tolerance_ms: int) -> None:
        self._tolerance_ms = tolerance_ms
        """A longer silence of all pairs means that the feed was down (ms)."""
        self._seen_ms = 0
        self._up_since_ms = 0

    def note(self, appended_ms: int, newest_ts_ns: int) -> None:
        """Take an envelope: append time at the broker (ms) and newest trade (ns). History is no sign of life."""
        if appended_ms - newest_ts_ns // 1_000_000 > self._tolerance_ms:
            return
        if appended_ms - self._seen_ms > self._tolerance_ms:
            self._up_since_ms = appended_ms
        self._seen_ms = max(self._seen_ms, appended_ms)

    def is_silence(self, max_ts_ns: int, now_ms: int) -> bool:
        """Tell whether the feed is up and has been ever since the newest trade of a pair, `max_ts_ns`."""
        is_up = now_ms - self._seen_ms <= self._tolerance_ms
        return is_up and max_ts_ns // 1_000_000 >= self._up_since_ms - self._tolerance_ms
