"""The peer: Quix Streams makes one-minute candles of the same topic `trades`, in a process of its own.

It is the job of the project that tickcast replaces: `tumbling_window(60 s).reduce(OHLCV)`, state in RocksDB with a
changelog, candles to an output topic. `python -m tests.bench.quix_peer BROKER OUTPUT FOLDER current|final`; with
`prompt` behind it, it takes envelopes of any size and sends at once, for a measurement of latency.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

SETTINGS = {
    "processing_guarantee": "at-least-once",
    "commit_interval": "5 s (its default; a state row is written to the changelog once a commit)",
    "consumer": "fetch.max.bytes 50 MB, queued.min.messages 100,000 (librdkafka's defaults)",
    "producer": "lz4, linger 50 ms, batch.size 256 KB",
    "serialisation": "its own orjson, keys as bytes",
    "rocksdb": "defaults",
    "window": "tumbling 60 s, grace 2 s, closing strategy key",
    "loglevel": "WARNING",
}
Candle = dict[str, float]
PROMPT_LINGER_MS = 0


def main(broker: str, output: str, folder: Path, emit: str, *, prompt: bool = False) -> None:
    """Run until told to stop; `started` in `folder` tells when the first trade was seen (ns)."""
    from quixstreams import Application  # noqa: PLC0415  # SETTINGS are read where it is not installed

    app = Application(
        broker_address=broker,
        consumer_group=f"quix-{emit}",
        auto_offset_reset="earliest",
        state_dir=folder / "quix-state",
        commit_interval=5.0,
        producer_extra_config={
            "compression.type": "lz4",
            "linger.ms": PROMPT_LINGER_MS if prompt else 50,
            "batch.size": 256 * 1024,
        },
        loglevel="WARNING",
    )
    seen = False

    def event_ms(value: Any, _headers: Any, _timestamp: int, _kind: Any) -> int:
        nonlocal seen
        if not seen:
            seen = True
            (folder / "started").write_text(str(time.time_ns()))
        stamp_ns: int = value[0]["ts_ns"]
        return stamp_ns // 1_000_000

    frame = app.dataframe(app.topic("trades", timestamp_extractor=event_ms))
    if prompt:
        frame = frame.apply(lambda value: [[trade] for trade in value], expand=True)
        frame = frame.set_timestamp(lambda value, *_: value[0]["ts_ns"] // 1_000_000)
    window = frame.tumbling_window(duration_ms=60_000, grace_ms=2_000).reduce(update, begin)
    frame = window.current() if emit == "current" else window.final()
    frame.to_topic(app.topic(output))
    app.run()


def begin(value: list[dict[str, Any]]) -> Candle:
    """Start a candle with the first trade of its minute."""
    trade = value[0]
    price = trade["price"]
    return {"open": price, "high": price, "low": price, "close": price, "volume": trade["qty"]}


def update(candle: Candle, value: list[dict[str, Any]]) -> Candle:
    """Add one trade."""
    trade = value[0]
    price = trade["price"]
    if price > candle["high"]:
        candle["high"] = price
    elif price < candle["low"]:
        candle["low"] = price
    candle["close"] = price
    candle["volume"] += trade["qty"]
    return candle


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], prompt="prompt" in sys.argv[5:])
