"""From what was produced and what was seen to latencies. Arrays in, arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Live", "closings", "live_latencies", "summary"]

MINUTE_MS = 60_000


class Live(msgspec.Struct, frozen=True):
    """Latencies of the trades of one pair, each to the first live candle that reflects it (ms) [trades]."""

    total_ms: npt.NDArray[np.float64]
    """From the trade's production, waiting for the throttle included."""
    above_throttle_ms: npt.NDArray[np.float64]
    """From its production, or from when the throttle allowed the next record, whichever came later."""
    unheld: npt.NDArray[np.bool_]
    """Whether the throttle allowed a record already when the trade was produced."""


def live_latencies(
    trade_id: npt.NDArray[np.int64],
    produced_ns: npt.NDArray[np.int64],
    last_trade_id: npt.NDArray[np.int64],
    appended_ms: npt.NDArray[np.int64],
    seen_ns: npt.NDArray[np.int64],
    throttle_ms: float,
) -> Live:
    """Match the trades of one pair with its live candles, which are in the order of the log [records].

    The throttle allows the next record `throttle_ms` after the last one. When that was sent only the worker knows;
    the broker's append time stands for it, which is later by the send.

    Raises
    ------
    ValueError
        A trade is in none of the records.
    """
    first = np.searchsorted(last_trade_id, trade_id, side="left")
    if len(first) and first.max() >= len(last_trade_id):
        raise ValueError(f"trade {int(trade_id[first.argmax()])} is in no live candle")
    allowed_ns = np.where(first > 0, (appended_ms[first - 1] + throttle_ms) * 1e6, 0.0)
    unheld = produced_ns >= allowed_ns
    total_ms = (seen_ns[first] - produced_ns) / 1e6
    above_ms = np.where(unheld, total_ms, (seen_ns[first] - allowed_ns) / 1e6)
    return Live(total_ms, above_ms, unheld)


def closings(ts_ns: npt.NDArray[np.int64], lateness_ms: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tell which minutes of a pair its trades close, given in the order of time [trades].

    Returns
    -------
    open_ms of each minute that ends above the watermark of the first trade, and the index of the trade that takes
    the watermark past its end.
    """
    watermark_ms = np.maximum.accumulate(ts_ns) // 1_000_000 - lateness_ms
    frontier_ms = watermark_ms - watermark_ms % MINUTE_MS
    ends_ms = np.arange(frontier_ms[0] + MINUTE_MS, frontier_ms[-1] + 1, MINUTE_MS, dtype=np.int64)
    return ends_ms - MINUTE_MS, np.searchsorted(frontier_ms, ends_ms, side="left")


def summary(values_ms: npt.NDArray[np.float64]) -> dict[str, float | int]:
    """Give count, p50, p99 and the largest (ms)."""
    if not len(values_ms):
        return {"n": 0}
    p50, p99 = np.percentile(values_ms, (50, 99))
    return {
        "n": len(values_ms),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "max_ms": round(float(values_ms.max()), 2),
    }
