"""Runs: trades that follow each other without gap, disorder or fault go into their minutes by columns.

One by one a trade costs 1.5 us and more, in a run a third of that; the outcome is the same to the last bit, which
`test_run_of_trades_does_what_they_do_one_by_one` holds. Live feeds are runs nearly all of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from operator import mul
from typing import Final

import numpy as np
import numpy.typing as npt

from tables.candles.window import PRICE_SCALE, QTY_SCALE, Window
from tables.records import Trade

__all__ = ["BLOCK_TRADES", "EXACT_BELOW", "MIN_RUN_TRADES", "Run", "as_run"]

MIN_RUN_TRADES: Final = 24
"""Fewer trades are quicker one by one (count)."""
BLOCK_TRADES: Final = 1_024
"""Longer sequences are looked at in blocks, so that one odd trade holds up few (count)."""
EXACT_BELOW: Final = 2.0**26
"""Below this every number of eight decimals is a float of its own; above it two of them can share one."""
_EIGHT: Final = 10**8
_QTY_UNITS: Final = QTY_SCALE // _EIGHT
_QUOTE_UNITS: Final = _QTY_UNITS * (PRICE_SCALE // _EIGHT)


class Run:
    """Columns of n trades, in 1e-8 where they are sums."""

    __slots__ = ("bought", "ids", "price_units", "prices", "qty_units", "ts_ns")

    def __init__(
        self,
        ids: list[int],
        ts_ns: list[int],
        prices: list[float],
        units: tuple[list[int], list[int]],
        bought: list[bool],
    ) -> None:
        self.ids = ids
        self.ts_ns = ts_ns
        self.prices = prices
        self.price_units, self.qty_units = units
        self.bought = bought

    def add_to(self, window: Window, begin: int, end: int) -> None:
        """Add the trades [begin, end), all inside of `window` and newer than what it holds."""
        if end - begin == 1:
            self._add_one(window, begin)
            return
        prices, ids = self.prices[begin:end], self.ids
        high, low = max(prices), min(prices)
        if window.trades:
            window.high, window.low = max(high, window.high), min(low, window.low)
        else:
            window.open, window.high, window.low = prices[0], high, low
            window.open_ts_ns, window.open_id, window.first_id = self.ts_ns[begin], ids[begin], ids[begin]
        window.close, window.close_ts_ns = prices[-1], self.ts_ns[end - 1]
        window.close_id = window.last_id = ids[end - 1]
        window.trades += end - begin
        quantities = self.qty_units[begin:end]
        window.volume += sum(quantities) * _QTY_UNITS
        window.quote += sum(map(mul, self.price_units[begin:end], quantities)) * _QUOTE_UNITS
        window.buy += sum(compress(quantities, self.bought[begin:end])) * _QTY_UNITS
        ranges = window.ranges
        if ranges and ranges[-1] + 1 == ids[begin]:
            ranges[-1] = ids[end - 1]
        else:
            ranges += (ids[begin], ids[end - 1])

    def _add_one(self, window: Window, at: int) -> None:
        """Do the same for a single trade, without the slices."""
        price, trade_id, quantity = self.prices[at], self.ids[at], self.qty_units[at]
        if window.trades:
            if price > window.high:
                window.high = price
            elif price < window.low:
                window.low = price
        else:
            window.open = window.high = window.low = price
            window.open_ts_ns, window.open_id, window.first_id = self.ts_ns[at], trade_id, trade_id
        window.close, window.close_ts_ns = price, self.ts_ns[at]
        window.close_id = window.last_id = trade_id
        window.trades += 1
        window.volume += quantity * _QTY_UNITS
        window.quote += self.price_units[at] * quantity * _QUOTE_UNITS
        if self.bought[at]:
            window.buy += quantity * _QTY_UNITS
        ranges = window.ranges
        if ranges and ranges[-1] + 1 == trade_id:
            ranges[-1] = trade_id
        else:
            ranges += (trade_id, trade_id)


def as_run(trades: Sequence[Trade], pair: str, next_id: int, from_ns: int, limit_ns: int) -> Run | None:
    """Give the columns of trades that are a run; None where a single one needs a closer look.

    Parameters
    ----------
    trades
        At least one.
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
    if ts_ns[0] < from_ns or ts_ns[-1] > limit_ns or ts_ns != sorted(ts_ns):
        return None
    prices = [trade.price for trade in trades]
    price_units, qty_units = _units(prices), _units([trade.qty for trade in trades])
    if price_units is None or qty_units is None:
        return None
    return Run(ids, ts_ns, prices, (price_units, qty_units), [trade.side == "buy" for trade in trades])


def _units(values: list[float]) -> list[int] | None:
    """Give values in 1e-8; None where one is not positive, not finite, too large, or has more than eight decimals."""
    floats: npt.NDArray[np.float64] = np.array(values)
    # NaN fails every comparison.
    if not (floats.min() > 0.0 and floats.max() < EXACT_BELOW):
        return None
    units = (floats * 1e8 + 0.5).astype(np.int64)
    if not (units / 1e8 == floats).all():
        return None
    found: list[int] = units.tolist()
    return found
