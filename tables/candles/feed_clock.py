"""What the log tells of time: what it is now, and since when the feed has been up.

The machine's wall clock has no say: a jump of it would close candles whose trades are yet to come, or none at all.
"""

from __future__ import annotations

__all__ = ["FeedClock"]


class FeedClock:
    """Follows the append times and the live trades of all pairs of a worker.

    Where the feed was down, or the history of a pair is still being read, its trades will come: filling the time
    with flat candles would only make corrections, and more of them than the features can take back.
    """

    def __init__(self, tolerance_ms: int) -> None:
        self._tolerance_ms = tolerance_ms
        """A longer silence of all pairs means that the feed was down (ms)."""
        self._seen_ms = 0
        self._up_since_ms = 0
        self._lead_ms: int | None = None
        """How far the broker's clock is ahead of the monotonic one, as far as is known (ms)."""

    def recall(self, appended_ms: int, at_ms: int) -> None:
        """Take an append time (ms) of long ago, at a monotonic time (ms): it is at least as late as that."""
        if appended_ms and not self._seen_ms:
            self._take_lead(appended_ms - at_ms)

    def note(self, appended_ms: int, newest_ts_ns: int, at_ms: int) -> None:
        """Take an envelope: append time at the broker (ms), newest trade (ns), monotonic time (ms)."""
        if appended_ms - newest_ts_ns // 1_000_000 > self._tolerance_ms:
            # History is no sign of life, and if it is none, then the broker's clock is wrong.
            self.recall(appended_ms, at_ms)
            return
        if not self._seen_ms:
            self._lead_ms = None
        self._take_lead(appended_ms - at_ms)
        if appended_ms - self._seen_ms > self._tolerance_ms:
            self._up_since_ms = appended_ms
        self._seen_ms = max(self._seen_ms, appended_ms)

    def _take_lead(self, lead_ms: int) -> None:
        self._lead_ms = lead_ms if self._lead_ms is None else max(self._lead_ms, lead_ms)

    def now_ms(self, at_ms: int) -> int:
        """Give the broker's time (ms) at a monotonic time, rather too early than too late; 0 while nothing is known."""
        return 0 if self._lead_ms is None else at_ms + self._lead_ms

    def is_silence(self, max_ts_ns: int, now_ms: int) -> bool:
        """Tell whether the feed is up and has been ever since the newest trade of a pair, `max_ts_ns`."""
        is_up = now_ms - self._seen_ms <= self._tolerance_ms
        return is_up and max_ts_ns // 1_000_000 >= self._up_since_ms - self._tolerance_ms
