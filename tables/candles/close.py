"""Closing and correcting: the step of the candle fold that turns windows into candles."""

from __future__ import annotations

from tables.candles.rules import CHILD_OF, PARENTS, STEP_MS, CandleRules
from tables.candles.state import PairState
from tables.candles.window import Window, flat_window, merge_windows
from tables.records import MINUTE_MS, TIMEFRAMES, Candle

__all__ = ["Closer"]


class Closer:
    """Works on the state of one pair; remembers which windows came out of the last run changed."""

    def __init__(self, pair: str, state: PairState, rules: CandleRules) -> None:
        self._pair = pair
        self._state = state
        self._rules = rules
        self._minutes = state.windows["1m"]
        self._changed: dict[str, set[int]] = {timeframe: set() for timeframe in TIMEFRAMES}
        self._cascades = False
        """Whether this run may change a larger window that is closed."""

    def run(self, changed_ms: int | None, now_ms: int | None, *, feed_alive: bool) -> bool:
        """Correct the minute that got a trade, close, and cascade upwards; tell whether any candle changed."""
        state = self._state
        for opens in self._changed.values():
            opens.clear()
        before_ms = state.frontier_ms
        self._cascades = now_ms is not None
        if changed_ms is not None and changed_ms < state.frontier_ms:
            self._cascades = True
            self._correct(changed_ms)
        self._close_minutes(state.max_ts_ns // 1_000_000 - self._rules.lateness_ms, "watermark")
        ended = False
        if now_ms is not None:
            ended = self._has_ended(now_ms)
            self._close_minutes(self._timer_limit(now_ms, ended=ended, feed_alive=feed_alive), "timer")
        for timeframe in PARENTS:
            if not self._cascades and self._none_ends(timeframe, before_ms):
                break  # and so none of a larger timeframe
            self._close_parents(timeframe, "watermark" if now_ms is None else "timer", everything=ended)
        return any(self._changed.values())

    def _has_ended(self, now_ms: int) -> bool:
        """Tell whether this is recorded history that is over, and not a live pair that is silent."""
        age_ms = now_ms - self._state.max_ts_ns // 1_000_000
        return self._minutes[self._state.newest_ms].source == "replay" or age_ms > self._rules.synthetic_gap_max_ms

    def _timer_limit(self, now_ms: int, *, ended: bool, feed_alive: bool) -> int:
        newest_end_ms = self._state.newest_ms + MINUTE_MS
        if ended:
            return newest_end_ms
        now_ms -= self._rules.lateness_ms
        # Beyond the limit the windows would swell the row; the next trade fills the rest.
        filled_ms = self._state.last_traded_ms + self._rules.idle_fill_max_ms
        return min(now_ms, max(filled_ms, newest_end_ms)) if feed_alive else min(now_ms, newest_end_ms)

    def candles(self) -> list[Candle]:
        """Give the candles of all changed windows, 1m first, each timeframe in time order."""
        return [
            self._state.windows[timeframe][open_ms].candle(self._pair, timeframe, self._state.as_of_ms)
            for timeframe, opens in self._changed.items()
            if opens
            for open_ms in sorted(opens)
            if open_ms >= self._state.publish_from_ms
        ]

    def _correct(self, open_ms: int) -> None:
        """Revise a closed minute (or close one that came late) and every silent minute that leans on it."""
        window, changed = self._minutes[open_ms], self._changed["1m"]
        self._mark(changed, window, "watermark")
        after_ms = open_ms + MINUTE_MS
        price, source = window.close, window.source
        while after_ms < self._state.frontier_ms:
            follower = self._minutes.get(after_ms)
            if follower is None:
                if after_ms - open_ms > self._rules.synthetic_gap_max_ms:
                    break
                follower = self._minutes[after_ms] = flat_window(after_ms, price, source)
                self._mark(changed, follower, "watermark")
            elif follower.trades or not follower.flatten(price):
                break
            else:
                self._mark(changed, follower, "watermark")
            after_ms += MINUTE_MS
        last = self._minutes.get(self._state.frontier_ms - MINUTE_MS)
        if last is not None:
            self._state.tail_close = last.close
        self._state.last_traded_ms = max(self._state.last_traded_ms, open_ms)

    def _close_minutes(self, until_ms: int, closed_by: str) -> None:
        """Close every minute that ends at or before `until_ms`; silent ones become synthetic."""
        state, minutes, changed = self._state, self._minutes, self._changed["1m"]
        frontier_ms = until_ms - until_ms % MINUTE_MS
        open_ms = state.frontier_ms
        while open_ms < frontier_ms:
            window = minutes.get(open_ms)
            if window is None:
                if open_ms - state.last_traded_ms > self._rules.synthetic_gap_max_ms:
                    open_ms = min((at for at in minutes if open_ms < at < frontier_ms), default=frontier_ms)
                    continue
                window = minutes[open_ms] = flat_window(open_ms, state.tail_close, state.tail_source)
            else:
                state.last_traded_ms = open_ms
            self._mark(changed, window, closed_by)
            state.tail_close, state.tail_source = window.close, window.source
            open_ms += MINUTE_MS
        state.frontier_ms = max(state.frontier_ms, frontier_ms)

    def _none_ends(self, timeframe: str, before_ms: int) -> bool:
        """Tell whether no window of a larger timeframe ended since the frontier was at `before_ms`, nor was changed."""
        step, windows = STEP_MS[timeframe], self._state.windows[timeframe]
        if before_ms // step != self._state.frontier_ms // step:
            return False
        holders = {open_ms - open_ms % step for open_ms in self._changed[CHILD_OF[timeframe]]}
        if not holders.isdisjoint(windows):
            return False
        self._state.unclosed[timeframe] |= holders
        return True

    def _close_parents(self, timeframe: str, closed_by: str, *, everything: bool) -> None:
        state = self._state
        step, windows = STEP_MS[timeframe], state.windows[timeframe]
        changed, unclosed = self._changed[CHILD_OF[timeframe]], state.unclosed[timeframe]
        if not changed and not everything and min(unclosed, default=state.frontier_ms) + step > state.frontier_ms:
            return
        for open_ms in sorted(unclosed.union([open_ms - open_ms % step for open_ms in changed])):
            known = windows.get(open_ms)
            if known is None and not everything and open_ms + step > state.frontier_ms:
                unclosed.add(open_ms)
                continue
            merged = self._merge(timeframe, open_ms)
            if known is not None:
                merged.closed, merged.revision = True, known.revision
            windows[open_ms] = merged
            unclosed.discard(open_ms)
            self._mark(self._changed[timeframe], merged, closed_by)

    def _merge(self, timeframe: str, open_ms: int) -> Window:
        child = CHILD_OF[timeframe]
        found = (
            self._state.windows[child].get(at) for at in range(open_ms, open_ms + STEP_MS[timeframe], STEP_MS[child])
        )
        return merge_windows(open_ms, [window for window in found if window is not None and window.closed])

    @staticmethod
    def _mark(changed: set[int], window: Window, closed_by: str) -> None:
        """Close a window, or count one more revision of a closed one (once a run)."""
        if window.open_ms in changed:
            return
        if window.closed:
            window.revision += 1
        else:
            window.closed = True
        window.closed_by = closed_by
        window.packed = None
        changed.add(window.open_ms)
