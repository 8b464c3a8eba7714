"""One pair's state for a person: watermark, frontier, windows, and the trade ids that are missing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from app.state_folder import folder_of, tables_of, workers
from redpanda.errors import BadInputError
from redpanda.topics import CANDLE_STATE
from tables import rocks
from tables.candles import CandleRules
from tables.candles.ranges import count_ids, holes
from tables.candles.state import PairState, load_state, state_key
from tables.candles.window import QTY_SCALE

__all__ = ["describe_pair"]

SHOWN: Final = 12
"""Windows of a timeframe and holes that are listed (count)."""


def describe_pair(home: Path, worker: str | None, pair: str, rules: CandleRules) -> dict[str, Any]:
    """Describe a pair as the worker that has come furthest with it knows it.

    Raises
    ------
    BadInputError
        No worker of the folder knows the pair.
    ConfigError
        Its state was written by another version of tickcast.
    DamagedStateError
        RocksDB cannot read a folder.

    """
    found: list[tuple[PairState, str, int]] = []
    for name in [worker] if worker else workers(home):
        for folder in rocks.folders(tables_of(folder_of(home, name))):
            if folder.table != CANDLE_STATE:
                continue
            with rocks.reading(folder.path) as db:
                value = db.get(state_key(pair))
            if value is not None:
                found.append((load_state(pair, {state_key(pair): value}.get), name, folder.partition))
    if not found:
        raise BadInputError(f"--pair {pair}: no worker below {home / 'worker'} has state of it; pairs are like BTC/USD")
    state, name, partition = max(found, key=lambda one: (one[0].max_ts_ns, one[0].as_of_ms))
    missing = list(holes(state.applied))
    return {
        "pair": pair,
        "worker": name,
        "partition": partition,
        "newest_trade": _time(state.max_ts_ns // 1_000_000),
        "watermark": _time(state.max_ts_ns // 1_000_000 - rules.lateness_ms),
        "closed_until": _time(state.frontier_ms),
        "log_read_until": _time(state.as_of_ms),
        "publishes_from": _time(state.publish_from_ms) if state.publish_from_ms else None,
        "trade_ids": {
            "first": state.applied[0] if state.applied else None,
            "last": state.applied[-1] if state.applied else None,
            "applied": count_ids(state.applied),
            "missing": sum(high - low + 1 for low, high in missing),
            "holes": [[low, high] for low, high in missing[:SHOWN]],
            "more_holes": max(0, len(missing) - SHOWN),
        },
        "windows": {timeframe: _windows(windows) for timeframe, windows in state.windows.items()},
    }


def _windows(windows: dict[int, Any]) -> dict[str, Any]:
    newest = [windows[open_ms] for open_ms in sorted(windows)[-SHOWN:]]
    return {
        "kept": len(windows),
        "open": sum(not window.closed for window in windows.values()),
        "newest": [
            {
                "opens": _time(window.open_ms),
                "state": ("closed by " + window.closed_by) if window.closed else "open",
                "trades": window.trades,
                "open": window.open,
                "high": window.high,
                "low": window.low,
                "close": window.close,
                "volume": window.volume / QTY_SCALE,
                "revision": window.revision,
            }
            for window in newest
        ],
    }


def _time(at_ms: int) -> str | None:
    if at_ms <= 0:
        return None
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
