"""One window of one pair: exact sums, open ranges of trade ids, and its candle.

Sums are integers, so that they do not depend on the order of the trades: quantities and prices in 1e-18, quote amounts
in 1e-36 (their product). They equal a sum in exact decimals of the shortest text of each float.
"""

# ruff: noqa: PLR1730  # min() and max() take four times as long as the comparison, several times a candle
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tables.records import Candle

__all__ = ["PRICE_SCALE", "QTY_SCALE", "QUOTE_SCALE", "Window", "flat_window", "merge_windows"]

QTY_SCALE: Final = 10**18
PRICE_SCALE: Final = 10**18
QUOTE_SCALE: Final = QTY_SCALE * PRICE_SCALE

_encoder: Final = msgspec.msgpack.Encoder()


def _pack_int(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


class Window(msgspec.Struct, gc=False, eq=False):
    """State of one window. `trades == 0` with `closed` is a synthetic one.

    A struct for speed: one is made for every candle, in less than half the time of a class with slots.
    """

    open_ms: int
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    source: str = ""
    closed: bool = False
    closed_by: str = ""
    trades: int = 0
    open_ts_ns: int = 0
    open_id: int = 0
    close_ts_ns: int = 0
    close_id: int = 0
    first_id: int = -1
    last_id: int = -1
    volume: int = 0
    """Base quantity in 1e-18."""
    buy: int = 0
    """Of it, what takers bought."""
    quote: int = 0
    """Quote amount in 1e-36."""
    ranges: list[int] = []
    """Applied trade ids (1m windows only)."""
    revision: int = 0
    packed: msgspec.Raw | None = None
    """The encoded window, kept until it changes."""

    def pack(self) -> msgspec.Raw:
        """Encode for the table. Sums travel as bytes: they outgrow 64 bits."""
        if self.packed is None:
            self.packed = msgspec.Raw(self._encode())
        return self.packed

    def _encode(self) -> bytes:
        return _encoder.encode(
            (
                self.open_ms,
                self.trades,
                (self.open, self.high, self.low, self.close),
                (self.open_ts_ns, self.open_id, self.close_ts_ns, self.close_id),
                (self.first_id, self.last_id),
                (_pack_int(self.volume), _pack_int(self.buy), _pack_int(self.quote)),
                self.ranges,
                self.closed,
                self.revision,
                self.closed_by,
                self.source,
            )
        )

    @classmethod
    def unpack(cls, fields: Sequence[Any]) -> Window:
        """Take back the decoded fields of `pack`."""
        open_ms, trades, ohlc, order, ids, sums, ranges, closed, revision, closed_by, source = fields
        window = cls(open_ms)
        window.trades = trades
        window.open, window.high, window.low, window.close = ohlc
        window.open_ts_ns, window.open_id, window.close_ts_ns, window.close_id = order
        window.first_id, window.last_id = ids
        window.volume, window.buy, window.quote = (int.from_bytes(one) for one in sums)
        window.ranges = ranges
        window.closed, window.revision, window.closed_by, window.source = closed, revision, closed_by, source
        return window

    def candle(self, pair: str, timeframe: str, as_of_ms: int) -> Candle:
        """Give the candle as it goes on the wire; divisions of integers round correctly."""
        if not self.trades:
            price = self.close
            return Candle(
                pair, timeframe, self.open_ms, price, price, price, price, 0.0, 0.0, 0.0, 0, price, -1, -1,
                self.closed, self.revision, True, self.closed_by, self.source, as_of_ms,
            )  # fmt: skip
        volume, quote = self.volume, self.quote
        return Candle(
            pair,
            timeframe,
            self.open_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            volume / QTY_SCALE,
            quote / QUOTE_SCALE,
            self.buy / QTY_SCALE,
            self.trades,
            quote / (volume * PRICE_SCALE),
            self.first_id,
            self.last_id,
            self.closed,
            self.revision,
            False,
            self.closed_by,
            self.source,
            as_of_ms,
        )

    def close_by(self, closed_by: str) -> None:
        """Close it, or say what closed it last."""
        self.closed, self.closed_by, self.packed = True, closed_by, None

    def flatten(self, price: float) -> bool:
        """Set a window without trades to `price`; tell whether that changed it."""
        if self.close == price:
            return False
        self.open = self.high = self.low = self.close = price
        self.packed = None
        return True


def flat_window(open_ms: int, price: float, source: str, closed_by: str = "") -> Window:
    """Make the synthetic window of a silent minute: flat at the previous close, and closed where something did that."""
    return Window(open_ms, price, price, price, price, source, bool(closed_by), closed_by)


def merge_windows(open_ms: int, children: Sequence[Window]) -> Window:
    """Merge closed or open windows, in time order, into the one that contains them.

    Windows without trades add nothing; where all are empty the result is flat at their price.
    """
    last = children[-1]
    traded = [child for child in children if child.trades]
    if not traded:
        return flat_window(open_ms, last.close, last.source)
    first, last = traded[0], traded[-1]
    high, low, first_id, last_id = first.high, first.low, first.first_id, first.last_id
    trades = volume = buy = quote = 0
    for child in traded:
        trades += child.trades
        volume += child.volume
        buy += child.buy
        quote += child.quote
        if child.high > high:
            high = child.high
        if child.low < low:
            low = child.low
        if child.first_id < first_id:
            first_id = child.first_id
        if child.last_id > last_id:
            last_id = child.last_id
    return Window(
        open_ms, first.open, high, low, last.close, last.source, False, "", trades,
        first.open_ts_ns, first.open_id, last.close_ts_ns, last.close_id, first_id, last_id, volume, buy, quote,
    )  # fmt: skip
