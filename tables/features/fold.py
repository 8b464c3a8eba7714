"""The feature fold of one pair and timeframe: closed candles in, feature rows out; corrections included.

State = the recurrences as they were `ring` bars ago, and the bars since (plus those the windows look back on).
A corrected candle is replaced in the ring, and everything from it on is computed again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from math import isfinite
from typing import Any, Final

import msgspec

from tables.features.catalog import FEATURE_SET
from tables.features.chain import WINDOW_BARS, Bar, Chain
from tables.records import TIMEFRAME_MS, Candle, Features

__all__ = ["PairFeatures", "features_key"]

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[str, int, int, list[Any], list[Bar]])


def features_key(pair: str, timeframe: str) -> bytes:
    """Key of the one table row of this fold."""
    return f"{pair}|{timeframe}".encode()


class PairFeatures:
    """Folds the closed candles of one pair and timeframe.

    Parameters
    ----------
    revisable_ms
        How far back a candle can still be corrected (ms); older corrections are not taken any more.

    """

    def __init__(self, pair: str, timeframe: str, revisable_ms: int, get: Callable[[bytes], bytes | None]) -> None:
        self.pair = pair
        self.timeframe = timeframe
        self._step_ms = TIMEFRAME_MS[timeframe]  # type: ignore[index]  # a record's timeframe is one of the six
        # Rounding takes a bar at either end, and the clock may have closed the newest minute ahead of its watermark.
        self._keep = revisable_ms // self._step_ms + 4
        self._bars: list[Bar] = []
        self._ring = 0
        self._count = 0
        self._as_of_ms = 0
        self._base: list[Any] = Chain(self._step_ms).dump()
        self._tip = Chain(self._step_ms)
        value = get(features_key(pair, timeframe))
        if value is not None:
            self._restore(value)

    def apply(self, candle: Candle) -> list[Features]:
        """Fold one closed candle; give its row and, for a correction, the rows after it.

        The last word of the log counts: after a crash older versions of a candle come again, and then the newer
        ones. A candle that came before gives its row again; one older than the ring gives nothing.
        """
        bar = _bar(candle)
        self._as_of_ms = candle.as_of_ms
        if not self._bars or bar.open_ms > self._bars[-1].open_ms:
            self._append(bar)
            return [self._row(self._tip.update(bar), bar, self._count)]
        first = len(self._bars) - self._ring
        at = bisect_left(self._bars, bar.open_ms, lo=first, key=lambda one: one.open_ms)
        known = self._bars[at]
        if known.open_ms != bar.open_ms:
            # Before the ring nothing can be computed again, unless the ring still holds the whole history.
            if at == first and self._count > self._ring:
                return []
            self._bars.insert(at, bar)
            self._ring += 1
            self._count += 1
            return self._replay(at)
        if known == bar:
            return self._replay(at)[:1]
        self._bars[at] = bar
        return self._replay(at)

    def pack(self) -> bytes:
        """Encode the state for the table."""
        return _encoder.encode((FEATURE_SET, self._count, self._ring, self._base, self._bars))

    def _restore(self, value: bytes) -> None:
        feature_set, count, ring, base, bars = _decoder.decode(value)
        if feature_set != FEATURE_SET:
            # Another definition: start over, rows stay None until warm again.
            return
        self._count, self._ring, self._base, self._bars = count, ring, base, bars
        self._replay(len(bars) - ring)

    def _append(self, bar: Bar) -> None:
        self._bars.append(bar)
        self._ring += 1
        self._count += 1
        if self._ring > 2 * self._keep:
            self._advance_base(self._keep)

    def _advance_base(self, bars: int) -> None:
        first = len(self._bars) - self._ring
        chain = self._chain_at_base()
        for bar in self._bars[first : first + bars]:
            chain.update(bar)
        self._base = chain.dump()
        self._ring -= bars
        del self._bars[: max(0, len(self._bars) - self._ring - WINDOW_BARS)]

    def _chain_at_base(self) -> Chain:
        first = len(self._bars) - self._ring
        chain = Chain(self._step_ms)
        chain.restore(self._base, self._bars[max(0, first - WINDOW_BARS) : first])
        return chain

    def _replay(self, wanted: int) -> list[Features]:
        """Compute the ring again from the base; give the rows from index `wanted` on."""
        first = len(self._bars) - self._ring
        chain = self._chain_at_base()
        rows: list[Features] = []
        for at in range(first, len(self._bars)):
            values = chain.update(self._bars[at])
            if at >= wanted:
                rows.append(self._row(values, self._bars[at], self._count - len(self._bars) + at + 1))
        self._tip = chain
        return rows

    def _row(self, values: dict[str, float | None], bar: Bar, count: int) -> Features:
        for name, value in values.items():
            if value is not None and not isfinite(value):
                values[name] = None
        return Features(
            pair=self.pair,
            timeframe=self.timeframe,
            open_ms=bar.open_ms,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume,
            quote_volume=bar.quote_volume,
            buy_volume=bar.buy_volume,
            trades=bar.trades,
            vwap=bar.vwap,
            revision=bar.revision,
            synthetic=bar.synthetic,
            source=bar.source,
            feature_set=FEATURE_SET,
            bars=count,
            values=values,
            as_of_ms=self._as_of_ms,
        )


def _bar(candle: Candle) -> Bar:
    return Bar(
        candle.open_ms,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.quote_volume,
        candle.buy_volume,
        candle.trades,
        candle.revision,
        candle.synthetic,
        candle.vwap,
        candle.source,
    )
