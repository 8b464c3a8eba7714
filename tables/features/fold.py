"""The feature fold of one pair and timeframe: closed candles in, feature rows out; corrections included.

State = the recurrences and the end of the columns as they were before the ring, and the bars of the ring. The ring
holds every bar that a late trade can still correct: then that bar is replaced, and all from it on is computed again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from math import isfinite, nan
from operator import attrgetter
from typing import Any, Final, TypeAlias

from msgspec.structs import asdict

from tables.features.catalog import CATALOG, Catalog
from tables.features.chain import Chain, Snapshot
from tables.features.state import State, pack_bar, pack_ring, pack_state, unpack_ring, unpack_state
from tables.records import MINUTE_MS, TIMEFRAME_MS, Candle, Features

__all__ = ["SILENCE_MS", "PairFeatures", "features_key", "refusal"]

SILENCE_MS: Final = 2 * 3_600_000
"""The clock may fill so much behind the newest trade (ms), and its corrections are still taken."""

_FEATURES_FIELDS: Final = (
    "open_ms",
    *("open", "high", "low", "close", "volume", "quote_volume", "buy_volume"),
    *("trades", "vwap", "revision", "synthetic", "source"),
)
"""What a row of features takes over from the candle, in the order of its fields."""
_fields_of: Final = attrgetter(*_FEATURES_FIELDS)
_SNAPSHOT_EVERY: Final = 4
"""Every so many bars the state of the recurrences is kept (count): corrections go back to one and fold from there."""
_Slot: TypeAlias = tuple[Candle, Snapshot | None, bytes | None]
"""A bar of the ring, the state of the recurrences before it where it is kept, and the bar as stored once it was."""
_TINY, _HUGE = 1e-100, 1e100
"""Prices and amounts outside would leave the range of a float on the way."""


def features_key(pair: str, timeframe: str) -> bytes:
    """Key of the one table row of this fold."""
    return f"{pair}|{timeframe}".encode()


def refusal(candle: Candle) -> str:
    """Name why a candle cannot be folded; empty for a good one."""
    if candle.timeframe not in TIMEFRAME_MS:
        return "timeframe-unknown"
    if candle.open_ms < 0:
        return "open-time-negative"
    for price in (candle.open, candle.high, candle.low, candle.close, candle.vwap):
        if not _TINY < price < _HUGE:
            return "price-out-of-range"
    for amount in (candle.volume, candle.quote_volume, candle.buy_volume):
        if amount and not _TINY < amount < _HUGE:
            return "volume-out-of-range"
    if bool(candle.volume) != bool(candle.quote_volume):
        return "volume-without-price"
    return "" if 0 <= candle.trades < 1 << 32 and candle.revision >= 0 else "count-out-of-range"


class PairFeatures:
    """Folds the closed candles of one pair and timeframe.

    Parameters
    ----------
    revisable_ms
        How far behind the newest trade a minute can still be corrected (ms after its end); older corrections are not
        taken any more.

    """

    def __init__(
        self,
        pair: str,
        timeframe: str,
        revisable_ms: int,
        get: Callable[[bytes], bytes | None],
        catalog: Catalog = CATALOG,
    ) -> None:
        self.pair = pair
        self.timeframe = timeframe
        self.started_over = False
        """The table held a row of another format or of other features."""
        self.too_old = 0
        """Corrections that were not taken (count)."""
        self._catalog = catalog
        self._step_ms = TIMEFRAME_MS[timeframe]  # type: ignore[index]  # a record's timeframe is one of the six
        # A trade belongs to a minute, and the minute to a candle that may open a whole step before it.
        self._span_ms = revisable_ms + MINUTE_MS + self._step_ms
        # Both round up, and the newest bar that traded is between them.
        self._max_ring = self._span_ms // self._step_ms + 1 + SILENCE_MS // self._step_ms + 2
        self._chain = Chain(catalog, self._step_ms)
        self._feature_set, self._named = catalog.feature_set, catalog.named
        self._ring: list[_Slot] = []
        self._last = self._nothing(-1, nan, "")
        """The bar before the ring; of its numbers only the close counts."""
        self._as_of_ms = 0
        row = get(features_key(pair, timeframe))
        if row is not None:
            self._restore(row)

    def apply(self, candle: Candle) -> list[Features]:
        """Fold one closed candle; give its row and, for a correction, the rows after it.

        Of two versions of a candle the one of newer trades counts, of equal ones the later. A candle that came before
        gives its row again; an older version of it gives nothing, and neither does one older than the ring.
        """
        ring = self._ring
        if ring and candle.open_ms <= ring[-1][0].open_ms:
            return self._apply_run([candle])
        return [self._push_new(candle)]

    def apply_all(self, candles: Sequence[Candle]) -> list[Features]:
        """Fold closed candles in the order of the log, like `apply` of each, but give every row once a run.

        A run is of ascending time: a late trade corrects its minute and every silent one behind it, and each of them
        would give all rows after it again.
        """
        if len(candles) == 1:
            return self.apply(candles[0])
        rows: list[Features] = []
        run: list[Candle] = []
        for candle in candles:
            if run and candle.open_ms <= run[-1].open_ms:
                rows += self._apply_run(run)
                run = []
            run.append(candle)
        return rows + self._apply_run(run) if run else rows

    def _apply_run(self, run: Sequence[Candle]) -> list[Features]:
        ring = self._ring
        if not ring or run[0].open_ms > ring[-1][0].open_ms:
            return [self._push_new(candle) for candle in run]
        known = {bar.open_ms: bar for bar, *_ in ring if bar.open_ms >= run[0].open_ms}
        taken: dict[int, Candle] = {}
        changed_ms: int | None = None
        for candle in run:
            before = known.get(candle.open_ms)
            if candle.open_ms <= self._last.open_ms:
                self.too_old += 1
            elif before is None or candle.age >= before.age:
                taken[candle.open_ms] = candle
                if changed_ms is None and (before is None or _fields_of(candle) != _fields_of(before)):
                    changed_ms = candle.open_ms
        if not taken:
            return []
        first_ms = min(taken)
        at = bisect_left(ring, first_ms, key=lambda slot: slot[0].open_ms)
        if at == len(ring):
            return [self._push_new(candle) for candle in taken.values()]
        bars = {open_ms: bar for open_ms, bar in known.items() if open_ms >= first_ms} | taken
        rows = self._replay(at, [bars[open_ms] for open_ms in sorted(bars)], taken)
        return [row for row in rows if row.open_ms in taken or (changed_ms is not None and row.open_ms > changed_ms)]

    def pack(self) -> bytes:
        """Encode the state for the table."""
        chain, ring = self._chain, self._ring
        at = len(ring)
        while at and ring[at - 1][2] is None:
            at -= 1
        for place in range(at, len(ring)):
            bar, before, _ = ring[place]
            last = ring[place - 1][0] if place else self._last
            # The state as bytes takes a quarter of the memory of its tuples.
            state = None if before is None else chain.packed(before)
            ring[place] = (bar, state, pack_bar(bar, last, self._step_ms))
        base = ring[0][1] if ring else None
        row = State(
            chain.window.bars - len(ring),
            self._last.open_ms,
            self._last.source,
            self._last.as_of_ms,
            chain.packed(chain.snapshot() if base is None else base),
            chain.window.packed(self._catalog.stored, len(ring)),
            pack_ring([packed for _, _, packed in ring if packed is not None]),
        )
        return pack_state(self._catalog, row)

    def _restore(self, row: bytes) -> None:
        state = unpack_state(self._catalog, row)
        if state is None:
            # Rows stay None until warm again, and `bars` counts from here.
            self.started_over = True
            return
        window = self._chain.window
        self._chain.recall(state.snapshot)
        window.restore(state.bars, self._catalog.stored, state.columns)
        self._last = self._nothing(state.base_ms, window.close, state.base_source, state.base_as_of_ms)
        for bar in unpack_ring(state.ring, self._last, self._step_ms):
            self._as_of_ms = max(self._as_of_ms, bar.as_of_ms)
            self._push(bar)

    def _nothing(self, open_ms: int, close: float, source: str, as_of_ms: int = 0) -> Candle:
        prices, amounts = (close,) * 4, (0.0,) * 3
        return Candle(
            self.pair, self.timeframe, open_ms, *prices, *amounts, 0, close, -1, -1, True, 0, True, "", source, as_of_ms
        )

    def _replay(self, at: int, bars: Sequence[Candle], new: Container[int]) -> list[Features]:
        """Go back to before the bar `at` of the ring, and fold `bars`; those that open at `new` came just now."""
        ring, start = self._ring, at
        while (snapshot := ring[start][1]) is None:
            start -= 1
        unchanged = [slot[0] for slot in ring[start:at]]
        self._chain.rewind(snapshot, len(ring) - start)
        del ring[start:]
        for bar in unchanged:
            self._push(bar)
        return [self._push_new(bar) if bar.open_ms in new else self._push(bar) for bar in bars]

    def _push_new(self, bar: Candle) -> Features:
        self._as_of_ms = max(self._as_of_ms, bar.as_of_ms)
        return self._push(bar)

    def _push(self, bar: Candle) -> Features:
        chain, ring = self._chain, self._ring
        window = chain.window
        ring.append((bar, None if window.bars % _SNAPSHOT_EVERY and ring else chain.snapshot(), None))
        values = chain.update(bar)
        gone_ms = (bar.open_ms if bar.trades else self._newest_traded_ms()) - self._span_ms
        # The ring starts at a snapshot: bars leave it as many at a time.
        first = _SNAPSHOT_EVERY - (window.bars - len(ring)) % _SNAPSHOT_EVERY
        while len(ring) > first and (ring[first - 1][0].open_ms <= gone_ms or len(ring) - first >= self._max_ring):
            self._last = ring[first - 1][0]
            del ring[:first]
            first = _SNAPSHOT_EVERY
        window.keep = len(ring)
        # One bad value makes the sum bad: most rows need no look at each.
        known: list[Any] = values
        if not isfinite(sum(values)):
            known = [value if isfinite(value) else None for value in values]
        # A struct makes its dict in less time than `zip` fills one; so does giving fields by place.
        head = (self.pair, self.timeframe, *_fields_of(bar))
        named = asdict(self._named(*known))
        return Features(*head, self._feature_set, window.bars, named, self._as_of_ms)  # type: ignore[call-arg]  # the head is 15 fields

    def _newest_traded_ms(self) -> int:
        return next((bar.open_ms for bar, *_ in reversed(self._ring) if bar.trades), -1)
