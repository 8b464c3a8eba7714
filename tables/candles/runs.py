"""Runs: trades that follow each other without gap, disorder or fault go into their minutes by columns.

One by one a trade costs 1.5 us and more, in a run a quarter of that; the outcome is the same to the last bit, which
`test_run_of_trades_does_what_they_do_one_by_one` holds. Live feeds are runs nearly all of the time.
"""

# ruff: noqa: PLR1730  # min() and max() take four times as long as the comparison, once a minute
from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from tables.candles.window import PRICE_SCALE, QTY_SCALE, Window
from tables.records import MINUTE_MS, Trade

__all__ = ["BLOCK_TRADES", "EXACT_BELOW", "MIN_RUN_TRADES", "Minute", "Run", "as_run"]

MIN_RUN_TRADES: Final = 24
"""Fewer trades are quicker one by one (count)."""
BLOCK_TRADES: Final = 1_024
"""Longer sequences are looked at in blocks, so that one odd trade holds up few; their sums must fit (count)."""
EXACT_BELOW: Final = 2.0**26
"""Below this every number of eight decimals is a float of its own; above it two of them can share one."""
_EIGHT: Final = 10**8
_QTY_UNITS: Final = QTY_SCALE // _EIGHT
_QUOTE_UNITS: Final = _QTY_UNITS * (PRICE_SCALE // _EIGHT)
_PART_BITS: Final = 26
_LOW_PART: Final = (1 << _PART_BITS) - 1
_MINUTE_NS: Final = MINUTE_MS * 1_000_000
_MAX_NS: Final = (1 << 63) - 1
"""Of an array's integers; a broker's clock may allow for more."""


class Minute(msgspec.Struct, gc=False):
    """The trades [begin, end) of a run: those of one minute."""

    begin: int
    end: int
    open_ms: int
    high: float
    low: float
    volume: int
    """In 1e-8, as `buy`."""
    buy: int
    quote: int
    """In 1e-16."""


class Run:
    """Trades of one pair with ids from `first_id` on, and what they add to each minute."""

    __slots__ = ("_first_id", "_prices", "minutes", "ts_ns")

    def __init__(self, first_id: int, ts_ns: list[int], prices: list[float], minutes: list[Minute]) -> None:
        self._first_id = first_id
        self._prices = prices
        self.ts_ns = ts_ns
        self.minutes = minutes

    def add_to(self, window: Window, minute: Minute) -> int:
        """Add the trades of a minute, all newer than what its window holds; give the id of the last."""
        begin, last = minute.begin, minute.end - 1
        first_id, last_id = self._first_id + begin, self._first_id + last
        if window.trades:
            if minute.high > window.high:
                window.high = minute.high
            if minute.low < window.low:
                window.low = minute.low
        else:
            window.open, window.high, window.low = self._prices[begin], minute.high, minute.low
            window.open_ts_ns, window.open_id, window.first_id = self.ts_ns[begin], first_id, first_id
        window.close, window.close_ts_ns = self._prices[last], self.ts_ns[last]
        window.close_id = window.last_id = last_id
        window.trades += minute.end - begin
        window.volume += minute.volume * _QTY_UNITS
        window.buy += minute.buy * _QTY_UNITS
        window.quote += minute.quote * _QUOTE_UNITS
        ranges = window.ranges
        if ranges and ranges[-1] + 1 == first_id:
            ranges[-1] = last_id
        else:
            ranges += (first_id, last_id)
        return last_id


def as_run(trades: Sequence[Trade], pair: str, next_id: int, from_ns: int, limit_ns: int) -> Run | None:
    """Give the run that trades are; None where a single one needs a closer look.

    Parameters
    ----------
    trades
        At least one, at most `BLOCK_TRADES`.
    pair
        Of all of them.
    next_id
        The id that the first trade must have.
    from_ns, limit_ns
        Their times must not fall, and lie within these, both included (ns).

    """
    ids = [trade.trade_id for trade in trades]
    if ids[0] != next_id or ids[-1] - next_id + 1 != len(ids) or ids != list(range(next_id, next_id + len(ids))):
        return None
    if {trade.pair for trade in trades} != {pair}:
        return None
    ts_ns = [trade.ts_ns for trade in trades]
    if ts_ns[0] < from_ns or ts_ns[-1] > min(limit_ns, _MAX_NS) or ts_ns != sorted(ts_ns):
        return None
    prices, quantities = [trade.price for trade in trades], [trade.qty for trade in trades]
    # Of all ways from a list of floats to an array the quickest.
    values = np.fromiter(chain(prices, quantities), np.float64, 2 * len(ids)).reshape(2, -1)
    units = _units(values)
    if units is None:
        return None
    bought = np.frombuffer(bytes([trade.side == "buy" for trade in trades]), np.uint8)
    return Run(next_id, ts_ns, prices, _minutes(ts_ns, values[0], units, bought))


def _minutes(
    ts_ns: list[int], prices: npt.NDArray[np.float64], units: npt.NDArray[np.uint64], bought: npt.NDArray[np.uint8]
) -> list[Minute]:
    """Sum up prices and quantities, `units` of shape (2, n) and in 1e-8, by minute: exact, as integers."""
    minutes = np.fromiter(ts_ns, np.int64, len(ts_ns)) // _MINUTE_NS
    begins = np.concatenate(([0], np.flatnonzero(minutes[1:] != minutes[:-1]) + 1))
    # A product of two units outgrows 64 bits: multiplied in parts as on paper, whose sums over a block do not.
    (price_low, qty_low), (price_high, qty_high) = units & _LOW_PART, units >> _PART_BITS
    columns = (
        units[1],
        units[1] * bought,
        price_low * qty_low,
        price_low * qty_high + price_high * qty_low,
        price_high * qty_high,
    )
    volume, buy, *parts = [np.add.reduceat(column, begins).tolist() for column in columns]
    quote = [low + (middle << _PART_BITS) + (high << 2 * _PART_BITS) for low, middle, high in zip(*parts, strict=True)]
    at = begins.tolist()
    highs, lows = np.maximum.reduceat(prices, begins), np.minimum.reduceat(prices, begins)
    opens_ms = minutes[begins] * MINUTE_MS
    return list(
        map(Minute, at, [*at[1:], len(ts_ns)], opens_ms.tolist(), highs.tolist(), lows.tolist(), volume, buy, quote)
    )


def _units(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64] | None:
    """Give values in 1e-8; None where one is not positive, not finite, too large, or has more than eight decimals."""
    # NaN fails every comparison.
    if not (values.min() > 0.0 and values.max() < EXACT_BELOW):
        return None
    units = (values * 1e8 + 0.5).astype(np.uint64)
    return units if (units / 1e8 == values).all() else None
