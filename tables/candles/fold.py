"""The candle fold of one pair.

Order of a chunk: `apply` envelopes (and `tick` when the pair is silent), then `settle` once. What `settle` gives
must be delivered downstream *before* its row goes to the table: then a crash at any point repeats work and never
loses it, because the state cannot be ahead of what was sent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import inf
from typing import Final

from tables.candles.close import Closer
from tables.candles.ranges import add_id, add_range, has_id
from tables.candles.rules import CandleRules, keep_from_ms
from tables.candles.runs import BLOCK_TRADES, EXACT_BELOW, MIN_RUN_TRADES, Run, as_run
from tables.candles.state import load_state
from tables.candles.window import Window
from tables.records import MINUTE_MS, Candle, LateTrade, Trade

__all__ = ["FoldOutput", "PairCandles"]

_MINUTE_NS: Final = MINUTE_MS * 1_000_000
_MAX_RANGES: Final = 2_048
"""Flat entries of the evicted ranges: 1,024 open ranges. Beyond it the oldest hole is given up."""


class FoldOutput:
    """What one `settle` asks the shell to do."""

    __slots__ = ("applied", "candles", "duplicates", "late", "refused", "row")

    def __init__(self) -> None:
        self.candles: list[Candle] = []
        """Closed and revised candles, 1m first."""
        self.late: list[LateTrade] = []
        self.refused: list[tuple[Trade, str]] = []
        """Trades that broke the contract, with the reason."""
        self.row: bytes | None = None
        """What the table must hold for the pair; None where nothing changed."""
        self.applied = 0
        self.duplicates = 0


class PairCandles:
    """Folds trades of one pair into candles of six timeframes."""

    def __init__(self, pair: str, rules: CandleRules, get: Callable[[bytes], bytes | None]) -> None:
        self.pair = pair
        self.rules = rules
        self.state = load_state(pair, get)
        self._closer = Closer(pair, self.state, rules)
        self._dirty = False
        self._output = FoldOutput()

    def apply(self, trades: Sequence[Trade], limit_ts_ns: int, appended_ms: int = 0) -> None:
        """Apply trades in the order of the log, closing and correcting candles at the very trade that does it.

        So the candles and their revisions follow from the log alone, however it is cut into chunks: what comes
        again after a crash is what came before.

        Parameters
        ----------
        limit_ts_ns
            A trade later than this is refused (ns).
        appended_ms
            When the broker appended the record of these trades (ms).

        """
        self.state.as_of_ms = max(self.state.as_of_ms, appended_ms)
        if len(trades) < MIN_RUN_TRADES:
            self._one_by_one(trades, limit_ts_ns)
            return
        state = self.state
        for at in range(0, len(trades), BLOCK_TRADES):
            block = trades[at : at + BLOCK_TRADES]
            run = None
            if state.applied:
                from_ns = max(state.max_ts_ns, state.frontier_ms * 1_000_000)
                run = as_run(block, self.pair, state.applied[-1] + 1, from_ns, limit_ts_ns)
            if run is None:
                self._one_by_one(block, limit_ts_ns)
            else:
                self._by_columns(run, block)

    def _by_columns(self, run: Run, trades: Sequence[Trade]) -> None:
        state, ts_ns = self.state, run.ts_ns
        close_ns = self._next_close_ns()
        for minute in run.minutes:
            state.applied[-1] = run.add_to(self._window(minute.open_ms, trades[minute.begin]), minute)
            # It closes what ended before it, at the very trades that do; its own window stays open.
            while ts_ns[minute.end - 1] >= close_ns:
                state.max_ts_ns = ts_ns[bisect_left(ts_ns, close_ns, minute.begin, minute.end)]
                self._close(None)
                close_ns = self._next_close_ns()
        state.max_ts_ns = ts_ns[-1]
        self._output.applied += len(ts_ns)

    def _one_by_one(self, trades: Sequence[Trade], limit_ts_ns: int) -> None:
        state, output, pair = self.state, self._output, self.pair
        applied = state.applied
        next_id = applied[-1] + 1 if applied else 0
        max_ts_ns = state.max_ts_ns
        slack_ns = (self.rules.lateness_ms + self.rules.retention_ms) * 1_000_000
        window: Window | None = None
        ranges: list[int] = []
        start_ns = end_ns = 0
        close_ns = self._next_close_ns()
        for trade in trades:
            ts_ns, trade_id, price, qty = trade.ts_ns, trade.trade_id, trade.price, trade.qty
            if not (
                0.0 < price < inf
                and 0.0 < qty < inf
                and 0 < ts_ns <= limit_ts_ns
                and trade_id > 0
                and trade.pair == pair
            ):
                output.refused.append((trade, refusal(trade, pair, limit_ts_ns)))
                continue
            if trade_id != next_id and has_id(applied, trade_id):
                output.duplicates += 1
                continue
            if ts_ns > max_ts_ns:
                max_ts_ns = ts_ns
            elif (ts_ns // _MINUTE_NS + 1) * _MINUTE_NS + slack_ns <= max_ts_ns:
                watermark_ms = max_ts_ns // 1_000_000 - self.rules.lateness_ms
                output.late.append(LateTrade(trade=trade, reason="window-left-state", watermark_ms=watermark_ms))
                continue
            if window is None or not start_ns <= ts_ns < end_ns:
                start_ns = ts_ns // _MINUTE_NS * _MINUTE_NS
                end_ns = start_ns + _MINUTE_NS
                window = self._window(start_ns // 1_000_000, trade)
                ranges = window.ranges
                close_ns = self._next_close_ns()
            if trade_id == next_id and applied:
                applied[-1] = trade_id
                next_id = trade_id + 1
            else:
                add_id(applied, trade_id)
                next_id = applied[-1] + 1
            if ranges and ranges[-1] + 1 == trade_id:
                ranges[-1] = trade_id
            else:
                add_id(ranges, trade_id)
            _add(window, price, qty, ts_ns, trade_id, trade.side)
            output.applied += 1
            if max_ts_ns >= close_ns or start_ns < state.frontier_ms * 1_000_000:
                state.max_ts_ns = max_ts_ns
                self._close(start_ns // 1_000_000)
                close_ns = self._next_close_ns()
        state.max_ts_ns = max_ts_ns

    def _next_close_ns(self) -> int:
        """Time of the trade that will close the next minute (ns)."""
        return (self.state.frontier_ms + MINUTE_MS + self.rules.lateness_ms) * 1_000_000

    def _close(self, changed_ms: int | None, now_ms: int | None = None, *, feed_alive: bool = True) -> None:
        candles = self._closer.run(changed_ms, now_ms, feed_alive=feed_alive)
        if candles is not None:
            self._output.candles += candles
            self._dirty = True

    def settle(self, now_ms: int | None = None, *, feed_alive: bool = True) -> FoldOutput:
        """Hand over what came of the trades since the last time; for an idle pair, close by the clock first.

        Parameters
        ----------
        now_ms
            The broker's time (ms); given only when the pair is idle and its source is read to the end.
        feed_alive
            Whether other pairs of the feed traded lately: then silence is silence and is filled.

        """
        if now_ms is not None and self.state.newest_ms >= 0:
            self._close(None, now_ms, feed_alive=feed_alive)
        output, self._output = self._output, FoldOutput()
        # Repeated trades change nothing, yet the row is written: after a crash the changelog may lack its last one.
        if self._dirty or output.applied or output.duplicates:
            self._evict()
            output.row = self.state.pack()
            self._dirty = False
        return output

    def live(self) -> Candle | None:
        """Give the newest 1m candle while it is open."""
        window = self.state.windows["1m"].get(self.state.newest_ms)
        return None if window is None or window.closed else window.candle(self.pair, "1m", self.state.as_of_ms)

    def _window(self, open_ms: int, trade: Trade) -> Window:
        state = self.state
        windows = state.windows["1m"]
        window = windows.get(open_ms)
        if window is None:
            window = windows[open_ms] = Window(open_ms)
            if state.frontier_ms < 0 or (
                open_ms < state.frontier_ms and not any(other.closed for other in windows.values())
            ):
                state.frontier_ms = state.last_traded_ms = open_ms
        window.packed = None
        window.source = trade.source
        return window

    def _evict(self) -> None:
        """Drop the windows that no acceptable trade can change any more."""
        state = self.state
        horizon_ms = state.max_ts_ns // 1_000_000 - self.rules.lateness_ms - self.rules.retention_ms
        for timeframe, windows in state.windows.items():
            keep_ms = keep_from_ms(timeframe, horizon_ms)
            for open_ms in [open_ms for open_ms in windows if open_ms < keep_ms]:
                ranges = windows.pop(open_ms).ranges
                for at in range(0, len(ranges), 2):
                    add_range(state.evicted, ranges[at], ranges[at + 1])
        while len(state.evicted) > _MAX_RANGES:
            del state.evicted[1:3]


def refusal(trade: Trade, pair: str, limit_ts_ns: int) -> str:
    """Name why a trade breaks the contract."""
    if trade.trade_id <= 0:
        return "trade-id-not-positive"
    if trade.ts_ns <= 0:
        return "timestamp-not-positive"
    if trade.ts_ns > limit_ts_ns:
        return "future-timestamp"
    for name, value in (("price", trade.price), ("qty", trade.qty)):
        if not abs(value) < inf:
            return f"{name}-not-finite"
        if value <= 0.0:
            return f"{name}-not-positive"
    return "mixed-pairs" if trade.pair != pair else "malformed"


def _exact(value: float) -> int:
    """Give `value` in 1e-18: eight decimals, Kraken's most for quantities, at once; what has more by its text."""
    units = int(value * 1e8 + 0.5)
    if units / 1e8 == value and value < EXACT_BELOW:
        return units * 10_000_000_000
    return int(Decimal(repr(value)).scaleb(18))


def _add(window: Window, price: float, qty: float, ts_ns: int, trade_id: int, side: str) -> None:
    if window.trades:
        if price > window.high:
            window.high = price
        elif price < window.low:
            window.low = price
        if ts_ns > window.close_ts_ns or (ts_ns == window.close_ts_ns and trade_id > window.close_id):
            window.close, window.close_ts_ns, window.close_id = price, ts_ns, trade_id
        elif ts_ns < window.open_ts_ns or (ts_ns == window.open_ts_ns and trade_id < window.open_id):
            window.open, window.open_ts_ns, window.open_id = price, ts_ns, trade_id
        if trade_id > window.last_id:
            window.last_id = trade_id
        elif trade_id < window.first_id:
            window.first_id = trade_id
    else:
        window.open = window.high = window.low = window.close = price
        window.open_ts_ns = window.close_ts_ns = ts_ns
        window.open_id = window.close_id = window.first_id = window.last_id = trade_id
    amount = _exact(qty)
    window.trades += 1
    window.volume += amount
    window.quote += _exact(price) * amount
    if side == "buy":
        window.buy += amount
