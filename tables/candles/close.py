"""Closing and correcting: the step of the candle fold that turns windows into candles."""

from __future__ import annotations

from tables.candles.rules import CHILD_OF, PARENTS, STEP_MS, CandleRules
from tables.candles.state import PairState
from tables.candles.window import Window, flat_window, merge_windows
from tables.records import MINUTE_MS, Candle

__all__ = ["Closer"]


class Closer:
    """Works on the state of one pair."""

    def __init__(self, pair: str, state: PairState, rules: CandleRules) -> None:
        self._pair = pair
        self._state = state
        self._rules = rules
        self._minutes = state.windows["1m"]

    def run(self, changed_ms: int | None, now_ms: int | None, *, feed_alive: bool) -> list[Candle] | None:
        """Correct the minute that got a trade, close, and cascade upwards.

        Gives the candles of all changed windows, 1m first, each timeframe in time order; None where nothing changed.
        """
        state = self._state
        before_ms = state.frontier_ms
        is_late = changed_ms is not None and changed_ms < before_ms
        windows = self._correct(changed_ms) if changed_ms is not None and is_late else []
        windows += self._close_minutes(state.max_ts_ns // 1_000_000 - self._rules.lateness_ms, "watermark")
        ended, closed_by = False, "watermark"
        if now_ms is not None:
            ended, closed_by = self._has_ended(now_ms), "timer"
            windows += self._close_minutes(self._timer_limit(now_ms, ended=ended, feed_alive=feed_alive), "timer")
        cascades = is_late or now_ms is not None
        changed = bool(windows)
        found = self._candles("1m", windows)
        for timeframe in PARENTS:
            if not cascades and self._none_ends(timeframe, before_ms, windows):
                break  # and so none of a larger timeframe
            windows = self._close_parents(timeframe, windows, closed_by, everything=ended)
            changed = changed or bool(windows)
            found += self._candles(timeframe, windows)
        return found if changed else None

    def _candles(self, timeframe: str, windows: list[Window]) -> list[Candle]:
        pair, as_of_ms, from_ms = self._pair, self._state.as_of_ms, self._state.publish_from_ms
        return [one.candle(pair, timeframe, as_of_ms) for one in windows if one.open_ms >= from_ms]

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

    def _correct(self, open_ms: int) -> list[Window]:
        """Revise a closed minute (or close one that came late) and every silent minute that leans on it."""
        window = self._minutes[open_ms]
        changed = [window]
        after_ms = open_ms + MINUTE_MS
        price, source = window.close, window.source
        while after_ms < self._state.frontier_ms:
            follower = self._minutes.get(after_ms)
            if follower is None:
                if after_ms - open_ms > self._rules.synthetic_gap_max_ms:
                    break
                follower = self._minutes[after_ms] = flat_window(after_ms, price, source)
            elif follower.trades or not follower.flatten(price):
                break
            changed.append(follower)
            after_ms += MINUTE_MS
        for one in changed:
            one.revision += one.closed
            one.close_by("watermark")
        last = self._minutes.get(self._state.frontier_ms - MINUTE_MS)
        if last is not None:
            self._state.tail_close = last.close
        self._state.last_traded_ms = max(self._state.last_traded_ms, open_ms)
        return changed

    def _close_minutes(self, until_ms: int, closed_by: str) -> list[Window]:
        """Close every minute that ends at or before `until_ms`; silent ones become synthetic."""
        state, minutes = self._state, self._minutes
        frontier_ms = until_ms - until_ms % MINUTE_MS
        open_ms, price, source = state.frontier_ms, state.tail_close, state.tail_source
        closed: list[Window] = []
        while open_ms < frontier_ms:
            window = minutes.get(open_ms)
            if window is None:
                if open_ms - state.last_traded_ms > self._rules.synthetic_gap_max_ms:
                    open_ms = min((at for at in minutes if open_ms < at < frontier_ms), default=frontier_ms)
                    continue
                window = minutes[open_ms] = flat_window(open_ms, price, source, closed_by)
            else:
                window.close_by(closed_by)
                state.last_traded_ms = open_ms
                price, source = window.close, window.source
            closed.append(window)
            open_ms += MINUTE_MS
        state.tail_close, state.tail_source = price, source
        state.frontier_ms = max(state.frontier_ms, frontier_ms)
        return closed

    def _none_ends(self, timeframe: str, before_ms: int, closed: list[Window]) -> bool:
        """Tell whether no window of a larger timeframe ended since the frontier was at `before_ms`, nor was changed."""
        step = STEP_MS[timeframe]
        holder_ms = before_ms - before_ms % step  # of all that closed since, unless its end was passed
        if self._state.frontier_ms >= holder_ms + step or holder_ms in self._state.windows[timeframe]:
            return False
        if closed:
            self._state.unclosed[timeframe].add(holder_ms)
        return True

    def _close_parents(
        self, timeframe: str, children: list[Window], closed_by: str, *, everything: bool
    ) -> list[Window]:
        state = self._state
        step, windows, unclosed = STEP_MS[timeframe], state.windows[timeframe], state.unclosed[timeframe]
        changed: list[Window] = []
        for open_ms in sorted(unclosed.union([child.open_ms - child.open_ms % step for child in children])):
            known = windows.get(open_ms)
            if known is None and not everything and open_ms + step > state.frontier_ms:
                unclosed.add(open_ms)
                continue
            merged = windows[open_ms] = self._merge(timeframe, open_ms)
            merged.close_by(closed_by)
            if known is not None:
                merged.revision = known.revision + 1
            unclosed.discard(open_ms)
            changed.append(merged)
        return changed

    def _merge(self, timeframe: str, open_ms: int) -> Window:
        child = CHILD_OF[timeframe]
        get = self._state.windows[child].get
        opens = range(open_ms, open_ms + STEP_MS[timeframe], STEP_MS[child])
        return merge_windows(open_ms, [one for at in opens if (one := get(at)) is not None and one.closed])
