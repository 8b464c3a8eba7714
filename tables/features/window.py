"""The last bars of one pair and timeframe, as the live fold sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from math import log, nan
from typing import Final

import numpy as np
import numpy.typing as npt

from tables.records import Candle

__all__ = ["COLUMNS", "DERIVED", "SUMMED", "Rows", "Window"]

Rows = npt.NDArray[np.float64]

SUMMED: Final = ("close", "volume", "quote_volume", "buy_volume", "trades", "square", "signed_volume")
"""Columns that can be added up."""
_LISTED: Final = ("open", "high", "low")
COLUMNS: Final = (*SUMMED, *_LISTED)
DERIVED: Final[dict[str, dict[str, int]]] = {
    "square": {"close": 1},
    "signed_volume": {"close": 1, "volume": 0},
}
"""Columns that are worked out once a bar, with the bars that they need before their own."""
_PLACES: Final = {name: at for at, name in enumerate(SUMMED)}
_COUNT: Final = "<u4"
_SPARE_ROWS: Final = 32


class Window:
    """The last bars, newest last, and sums over them.

    Sums come from the bars themselves, never from running sums: those lose digits. All of them are one product of rows
    and a matrix of zeros and ones, which takes a third of the time of `sum` over lists. Zeros stand before the first
    bar of all.

    Parameters
    ----------
    depths
        Bars to look back on by column, the newest included.
    sums
        What to add up: columns of `SUMMED`, each with a number of bars.
    step_s
        Length of a bar (s).

    """

    def __init__(self, depths: Mapping[str, int], sums: Sequence[tuple[str, int]], step_s: float) -> None:
        self.step_s = step_s
        self.bars = 0
        """Bars since the first one of all, the newest included (count)."""
        self.open_ms = 0
        self.high = self.low = self.close = self.volume = nan
        self.last_high = self.last_low = self.last_close = nan
        """Of the bar before the newest; NaN at the first bar."""
        self.move = nan
        """Newest close less the last one; NaN at the first bar."""
        self.change = 0.0
        """Log return of the newest bar; 0 at the first one."""
        self.square = 0.0
        """Squared log return of the newest bar; 0 at the first one."""
        self.true_range = nan
        """Largest of high - low and the distances of both to the last close."""
        self.sums: list[float] = []
        """Sums over the newest bars, in the order in which they were asked for."""
        self.opens: list[float] = []
        self.highs: list[float] = []
        self.lows: list[float] = []
        """Opens, highs and lows like `closes`."""
        self.closes: list[float] = []
        """Closes of at least the depth of that column, newest last; NaN before the first bar."""
        self.keep = 0
        """Newest bars that `drop` may ask back (count)."""
        spans = sorted({span for _, span in sums}) or [1]
        self._longest = spans[-1]
        self._depth = max(self._longest, *depths.values())
        self._lists = (self.opens, self.highs, self.lows, self.closes)
        for column in self._lists:
            column.extend([nan] * self._depth)
        self._end = self._depth
        self._rows: Rows = np.zeros((self._depth + _SPARE_ROWS, len(SUMMED)))
        # The method is faster than the function.
        self._add_up = _ones(tuple(spans)).dot
        self._products: Rows = np.empty((len(spans), len(SUMMED)))
        self._flat = self._products.reshape(-1)
        self._asked = np.array([spans.index(span) * len(SUMMED) + _PLACES[name] for name, span in sums], np.intp)

    def push(self, bar: Candle) -> None:
        """Take the next bar."""
        end = self._end
        if end == len(self._rows):
            end = self._compact()
        high, low, close, volume, last = bar.high, bar.low, bar.close, bar.volume, self.close
        self.bars += 1
        self.open_ms = bar.open_ms
        self.last_high, self.last_low, self.last_close = self.high, self.low, last
        self.high, self.low, self.close, self.volume = high, low, close, volume
        span, up, down = high - low, abs(high - last), abs(low - last)
        # Comparisons with NaN are false: the first bar has high - low, and neither square nor signed volume.
        if up > span:  # noqa: PLR1730  # max() takes four times as long
            span = up
        self.true_range = down if down > span else span  # noqa: FURB136
        self.move = move = close - last
        self.change = change = log(close / last) if self.bars > 1 else 0.0
        self.square = square = change * change
        signed = volume if move > 0 else -volume if move < 0 else 0.0
        self.opens.append(bar.open)
        self.highs.append(high)
        self.lows.append(low)
        self.closes.append(close)
        self._rows[end] = (close, volume, bar.quote_volume, bar.buy_volume, bar.trades, square, signed)
        self._end = end = end + 1
        self._add_up(self._rows[end - self._longest : end], self._products)
        self.sums = self._flat[self._asked].tolist()

    def drop(self, bars: int) -> None:
        """Forget the newest bars (count)."""
        self.bars -= bars
        self._end -= bars
        for column in self._lists:
            del column[-bars:]
        self._take_last()

    def packed(self, depths: Mapping[str, int], newest: int) -> bytes:
        """Give what columns must still know before the `newest` bars: depth - 1 values each, fewer near the first bar.

        Doubles, and counts as integers of four bytes, little-endian, one column behind the other.
        """
        parts = []
        older = self.bars - newest
        end = self._end - newest
        for name, depth in depths.items():
            known = min(depth - 1, older)
            if name in _LISTED:
                column = self._lists[_LISTED.index(name)]
                ended = len(column) - newest
                values = np.array(column[ended - known : ended])
            else:
                values = self._rows[end - known : end, _PLACES[name]]
            parts.append(values.astype(_COUNT).tobytes() if name == "trades" else values.tobytes())
        return b"".join(parts)

    def restore(self, bars: int, depths: Mapping[str, int], packed: bytes) -> None:
        """Take back what `packed` gave; `bars` is the number of bars since the first one of all.

        Raises
        ------
        ValueError
            `packed` has another length.

        """
        self.bars = bars
        at = 0
        for name, depth in depths.items():
            kind, known = np.dtype(_COUNT if name == "trades" else "<f8"), min(depth - 1, bars)
            values = np.frombuffer(packed, kind, known, at)
            at += known * kind.itemsize
            if name in _LISTED:
                self._lists[_LISTED.index(name)].extend(values.tolist())
            else:
                self._rows[self._end - known : self._end, _PLACES[name]] = values
        if at != len(packed):
            raise ValueError(f"columns of {len(packed)} bytes instead of {at}")
        known = min(depths["close"] - 1, bars)
        rows = self._rows[self._end - known : self._end]
        closes = rows[:, _PLACES["close"]].tolist()
        self.closes += closes
        for row, (last, close) in zip(rows[1:], pairwise(closes), strict=True):
            change, volume = log(close / last), row.item(_PLACES["volume"])
            row[_PLACES["square"]] = change * change
            row[_PLACES["signed_volume"]] = volume if close > last else -volume if close < last else 0.0
        self._take_last()

    def _take_last(self) -> None:
        self.close, self.high, self.low = self.closes[-1], self.highs[-1], self.lows[-1]

    def _compact(self) -> int:
        """Move what is still needed to the start of new rows; give their number."""
        kept = self._rows[self._end - self._depth - self.keep : self._end]
        self._end = end = len(kept)
        self._rows = np.zeros((end + _SPARE_ROWS, len(SUMMED)))
        self._rows[:end] = kept
        for column in self._lists:
            del column[:-end]
        return end


@cache
def _ones(spans: tuple[int, ...]) -> Rows:
    """Give a row of zeros and ones for each span, ascending: it adds up so many newest of the longest span's bars."""
    longest = spans[-1]
    return np.array([[at >= longest - span for at in range(longest)] for span in spans], dtype=np.float64)
