"""The peer: cryptofeed's Kraken adapter decodes single-trade frames, alone, in a process and an environment of its own.

`PYTHON tests/bench/cryptofeed_peer.py FRAMES RUNS` prints JSON: frames/s of each run, and its version. PYTHON is one
with cryptofeed installed; of tickcast it needs nothing but tests/bench/ingest_parts.py. cryptofeed speaks
WebSocket v1: the frames hold the same trades in v1's shape. Its symbol table comes from the network; here it is given.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Kraken

from tests.bench.ingest_parts import frames_v1


async def decode(frames: list[str]) -> float:
    """Give the seconds for all frames."""
    seen = 0

    async def taken(_trade: object, _received_s: float) -> None:
        nonlocal seen
        seen += 1

    kraken: Any = Kraken.__new__(Kraken)
    kraken.exchange_symbol_mapping = {"XBT/USD": "BTC-USD"}
    kraken.exchange_symbol_to_std_symbol = kraken.exchange_symbol_mapping.__getitem__
    kraken.callbacks = {TRADES: [taken]}
    started_s = time.perf_counter()
    for frame in frames:
        await kraken.message_handler(frame, None, started_s)
    took_s = time.perf_counter() - started_s
    if seen != len(frames):
        raise SystemExit(f"{seen} trades of {len(frames)} frames")
    return took_s


def main(count: int, runs: int) -> None:
    frames = frames_v1("XBT/USD", 1, count, time.time_ns())
    rates = [count / asyncio.run(decode(frames)) for _ in range(runs)]
    print(json.dumps({"frames_per_s": rates, "version": version("cryptofeed")}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
