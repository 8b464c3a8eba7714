"""Closed candles of several pairs at a steady pace, and the forecasts that a real worker made of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import msgspec
from kafka import KafkaProducer

from ml.model import WARM_UP_BARS
from redpanda.settings import BrokerSettings
from redpanda.topics import FEATURES, FORECASTS
from tables.records import MINUTE_MS, Forecast
from tests.support.samples import features
from tests.support.waiting import wait_for
from tests.support.worker import everything

__all__ = ["Answers", "CandleFlow"]

PAIRS = tuple(f"{base}/USD" for base in ("BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "LTC", "BCH"))


class Answers(NamedTuple):
    """Forecasts of some candles, with what is wrong with them: (pair, open_ms, horizon_s)."""

    forecasts: list[Forecast]
    missed: list[tuple[str, int, int]]
    doubled: list[tuple[str, int, int]]


class CandleFlow:
    """Publishes one candle every `pause_s`, pair after pair; each pair's go on minute by minute from now."""

    def __init__(self, broker: BrokerSettings, pause_s: float = 0.02) -> None:
        self._broker = broker
        self._pause_s = pause_s
        self._producer = KafkaProducer(bootstrap_servers=broker.broker_url, acks="all", linger_ms=0)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.first_open_ms = time.time_ns() // 60_000_000_000 * MINUTE_MS - MINUTE_MS
        self._published: list[tuple[str, int]] = []
        self._sent_ms: dict[tuple[str, int], int] = {}

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._producer.close()

    def _run(self) -> None:
        for at in count():
            if self._stopping.wait(self._pause_s):
                return
            pair, open_ms = PAIRS[at % len(PAIRS)], self.first_open_ms + at // len(PAIRS) * MINUTE_MS
            row = features(at, pair=pair, open_ms=open_ms, bars=WARM_UP_BARS + at, close=100.0)
            self._sent_ms[pair, open_ms] = time.time_ns() // 1_000_000
            self._producer.send(FEATURES, key=pair.encode(), value=msgspec.json.encode(row)).get(30)
            self._published.append((pair, open_ms))

    @property
    def candles(self) -> list[tuple[str, int]]:
        """Pair and open_ms of everything that the broker has taken."""
        return list(self._published)

    @property
    def newest_open_ms(self) -> int:
        """Time of the newest candle."""
        return max(open_ms for _, open_ms in self._published)

    def wait_for_candle(self, open_ms: int, timeout_s: float = 120.0) -> None:
        """Wait until the candles have come to a time."""
        wait_for(lambda: self.newest_open_ms >= open_ms, timeout_s)

    def forecasts(self) -> list[Forecast]:
        """Read all that was ever forecast."""
        return [msgspec.json.decode(value, type=Forecast) for value in everything(self._broker, FORECASTS)]

    def worst_delay_ms(self, forecasts: Sequence[Forecast]) -> int:
        """Give the longest time from a candle to its forecast (ms)."""
        return max(one.made_at_ms - self._sent_ms[one.pair, one.feature_open_ms] for one in forecasts)

    def first_of(self, version: str, horizon_s: int, timeout_s: float = 60.0) -> Forecast:
        """Wait for the forecast of a model's version that was made first."""

        def found() -> list[Forecast]:
            return [one for one in self.forecasts() if (one.model_version, one.horizon_s) == (version, horizon_s)]

        return min(wait_for(found, timeout_s), key=lambda one: one.made_at_ms)

    def answers(self, horizons_s: Sequence[int], since: int = 0, timeout_s: float = 60.0) -> Answers:
        """Wait until the newest candles of now are through, then look at all from number `since` on."""
        candles = self.candles
        # Partitions go at speeds of their own, and within one the order holds.
        newest = {(pair, open_ms, horizon_s) for pair, open_ms in dict(candles).items() for horizon_s in horizons_s}
        found: list[Forecast] = []

        def are_through() -> bool:
            found[:] = self.forecasts()
            return newest <= {(one.pair, one.feature_open_ms, one.horizon_s) for one in found}

        wait_for(are_through, timeout_s)
        wanted = {(*candle, horizon_s) for candle in candles[since:] for horizon_s in horizons_s}
        made = [one for one in found if (one.pair, one.feature_open_ms, one.horizon_s) in wanted]
        times = Counter((one.pair, one.feature_open_ms, one.horizon_s) for one in made)
        return Answers(made, sorted(wanted - times.keys()), sorted(key for key, many in times.items() if many > 1))
