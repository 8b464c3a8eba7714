"""How the state of one pair lies in the table: one row, so that a write is whole or not there at all.

With a row a window a worker that is killed between two rows leaves candles that contradict each other; the test
`test_crash_at_any_point_ends_in_the_candles_of_the_batch` found them. See docs/adr/0002-own-windows.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from redpanda.errors import ConfigError
from tables.candles.ranges import add_range
from tables.candles.rules import CHILD_OF, STEP_MS
from tables.candles.window import Window
from tables.records import TIMEFRAMES

__all__ = ["PairState", "load_state", "state_key"]

_FORMAT: Final = 4
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Any])


def state_key(pair: str) -> bytes:
    """Key of the row of a pair."""
    return pair.encode()


class PairState:
    """All that is known of one pair. Windows of timeframes above 1m are in it only once they are closed."""

    __slots__ = (
        "applied",
        "as_of_ms",
        "evicted",
        "frontier_ms",
        "last_traded_ms",
        "max_ts_ns",
        "publish_from_ms",
        "tail_close",
        "tail_source",
        "unclosed",
        "windows",
    )

    def __init__(self) -> None:
        self.windows: dict[str, dict[int, Window]] = {timeframe: {} for timeframe in TIMEFRAMES}
        self.unclosed: dict[str, set[int]] = {timeframe: set() for timeframe in CHILD_OF}
        """open_ms of the larger windows that hold a closed smaller one and are not closed themselves; not stored."""
        self.applied: list[int] = []
        """Ranges of all trade ids applied so far."""
        self.evicted: list[int] = []
        """Those of them whose window has left the state."""
        self.as_of_ms = 0
        """Append time of the newest record of the pair in the log (ms): how far this state has come."""
        self.publish_from_ms = 0
        """Candles that open earlier are not sent (ms): a rebuild has seen only part of their trades."""
        self.max_ts_ns = 0
        self.frontier_ms = -1
        """Minutes that end at or before it are closed; -1 before the first trade."""
        self.last_traded_ms = -1
        """open_ms of the newest closed 1m window in which something traded."""
        self.tail_close = 0.0
        """Close of the 1m window that ends at the frontier."""
        self.tail_source = ""

    @property
    def newest_ms(self) -> int:
        """open_ms of the newest 1m window, -1 where there is none."""
        return max(self.windows["1m"], default=-1)

    def pack(self) -> bytes:
        """Encode for the table; windows that did not change keep their bytes."""
        return _encoder.encode(
            (
                _FORMAT,
                self.as_of_ms,
                self.publish_from_ms,
                self.max_ts_ns,
                self.frontier_ms,
                self.last_traded_ms,
                self.tail_close,
                self.tail_source,
                self.evicted,
                [[window.pack() for window in windows.values()] for windows in self.windows.values()],
            )
        )


def load_state(pair: str, get: Callable[[bytes], bytes | None]) -> PairState:
    """Read a pair from the table; an unknown pair gives an empty state.

    Raises
    ------
    ConfigError
        The row was written by another version of tickcast.

    """
    state = PairState()
    value = get(state_key(pair))
    if value is None:
        return state
    found, *fields = _decoder.decode(value)
    if found != _FORMAT:
        raise ConfigError(
            f"the state of {pair} has format {found} and this version of tickcast reads {_FORMAT}: stop all workers, "
            "compute it again with `tickcast rebuild`, and start them"
        )
    (
        state.as_of_ms,
        state.publish_from_ms,
        state.max_ts_ns,
        state.frontier_ms,
        state.last_traded_ms,
        state.tail_close,
        state.tail_source,
        state.evicted,
        rows,
    ) = fields
    for windows, packed in zip(state.windows.values(), rows, strict=True):
        for fields in packed:
            window = Window.unpack(fields)
            windows[window.open_ms] = window
    for timeframe, smaller in CHILD_OF.items():
        step = STEP_MS[timeframe]
        closed = {at - at % step for at, child in state.windows[smaller].items() if child.closed}
        state.unclosed[timeframe] = closed - state.windows[timeframe].keys()
    state.applied = list(state.evicted)
    for window in state.windows["1m"].values():
        for at in range(0, len(window.ranges), 2):
            add_range(state.applied, window.ranges[at], window.ranges[at + 1])
    return state
