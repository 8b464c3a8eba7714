"""What is published of one pair: the line of one state, which may be cut by a crash, and what a reader keeps of all."""

from __future__ import annotations

from tables.records import MINUTE_MS, TIMEFRAME_MS, Candle

__all__ = ["Line", "Reader"]

Key = tuple[str, int]


class Line:
    """The candles that one state has given, in order; every version of one is a revision of the one before."""

    def __init__(self) -> None:
        self._given: list[Candle] = []
        self.last: dict[Key, Candle] = {}
        self.minutes: set[int] = set()

    def __len__(self) -> int:
        return len(self._given)

    def add(self, candle: Candle) -> None:
        key = (candle.timeframe, candle.open_ms)
        known = self.last.get(key)
        assert candle.closed
        assert candle.revision == (0 if known is None else known.revision + 1), (known, candle)
        assert not self._given or candle.as_of_ms >= self._given[-1].as_of_ms, (self._given[-1], candle)
        self._given.append(candle)
        self._note(candle)

    def cut(self, length: int) -> None:
        """Go back to what a state in the table has given."""
        del self._given[length:]
        self.last, self.minutes = {}, set()
        for candle in self._given:
            self._note(candle)

    def _note(self, candle: Candle) -> None:
        self.last[candle.timeframe, candle.open_ms] = candle
        if candle.timeframe == "1m":
            self.minutes.add(candle.open_ms)

    @property
    def frontier_ms(self) -> int:
        """End of the newest closed minute, -1 where none is closed."""
        return max(self.minutes) + MINUTE_MS if self.minutes else -1

    def assert_whole(self) -> None:
        """No minute is left out, and every larger window that has ended is there."""
        if not self.minutes:
            return
        first_ms, frontier_ms = min(self.minutes), self.frontier_ms
        assert len(self.minutes) == (frontier_ms - first_ms) // MINUTE_MS, "a minute is left out"
        for timeframe, step_ms in TIMEFRAME_MS.items():
            first = first_ms - first_ms % step_ms
            left_out = [
                at for at in range(first, frontier_ms - step_ms + 1, step_ms) if (timeframe, at) not in self.last
            ]
            assert left_out == [], f"{timeframe} left out"


class Reader:
    """Keeps the candle of the newest trades; of equal ones more trades, then the higher revision, then the later."""

    def __init__(self) -> None:
        self.candles: dict[Key, Candle] = {}

    def take(self, candle: Candle) -> None:
        known = self.candles.get((candle.timeframe, candle.open_ms))
        if known is None or candle.age >= known.age:
            self.candles[candle.timeframe, candle.open_ms] = candle
