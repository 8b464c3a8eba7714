"""A seeded feed of disordered trades, and the judge of what the worker made of it."""

from __future__ import annotations

import random
import threading

import msgspec
from kafka import KafkaProducer

from redpanda.settings import BrokerSettings
from redpanda.topics import CANDLES, DEAD_LETTERS, FEATURES, TRADES, TRADES_LATE
from tables.records import TIMEFRAME_MS, Candle, Features, Side, Trade
from tests.support.reference import differences
from tests.support.waiting import wait_for
from tests.support.worker import everything

__all__ = ["Feed"]

PAIRS = ("BTC/USD", "ETH/USD", "SOL/USD", "ADA/USD", "XRP/USD", "DOT/USD")
SIDES: tuple[Side, ...] = ("buy", "sell")
START_MS = 1_526_187_600_000
TRADES_A_PAIR = 6_000


class Feed:
    """Publishes in a thread over about `lasting_s`, until `hurry`; then judges the topics."""

    def __init__(self, broker: BrokerSettings, seed: int, lasting_s: float) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.trades = history(self.chance)
        self.candles: dict[str, dict[tuple[str, int], Candle]] = {pair: {} for pair in PAIRS}
        self._wrong_features: list[str] = []
        self._broker = broker
        self._parts = envelopes(self.trades, self.chance)
        self._pause_s = lasting_s / len(self._parts) * 20
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def _publish(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._broker.broker_url, acks="all", linger_ms=5)
        for at, (pair, part) in enumerate(self._parts):
            producer.send(TRADES, key=pair.encode(), value=msgspec.json.encode(part))
            if at % 20 == 0:
                self._hurry.wait(self._pause_s)
        producer.flush()
        producer.close()

    def hurry(self) -> None:
        """Publish the rest at full speed and wait for it."""
        self._hurry.set()
        self._thread.join(120)

    def judge(self, what: str) -> str:
        """Wait for the last candles, compare everything with the recompute, give the ledger."""
        wait_for(self._is_complete, 120, every_s=2.0)
        try:
            wait_for(self._has_features, 60, every_s=1.0)
        except AssertionError:
            raise AssertionError(f"seed {self.seed}: {len(self._wrong_features)}: {self._wrong_features[:5]}") from None
        counts = {"missing": 0, "extra": 0, "different": 0}
        examples: list[str] = []
        for pair, part in self.trades.items():
            for name, rows in differences(part, self.candles[pair]).items():
                counts[name] += len(rows)
                examples += [f"{pair} {name} {row}" for row in rows[:2]]
        ledger = (
            f"ledger: lost={counts['missing']} double={counts['extra']} different={counts['different']} "
            f"{what} seed={self.seed}"
        )
        assert not any(counts.values()), (ledger, examples[:6])
        assert everything(self._broker, TRADES_LATE) == []
        assert everything(self._broker, DEAD_LETTERS) == []
        return ledger

    def _is_complete(self) -> bool:
        """Read all candles; tell whether the last one of every timeframe has come."""
        for value in everything(self._broker, CANDLES):
            candle = msgspec.json.decode(value, type=Candle)
            key = (candle.timeframe, candle.open_ms)
            known = self.candles[candle.pair].get(key)
            if known is None or candle.as_of_ms >= known.as_of_ms:
                self.candles[candle.pair][key] = candle
        for pair, part in self.trades.items():
            for timeframe, step in TIMEFRAME_MS.items():
                last = self.candles[pair].get((timeframe, part[-1].ts_ns // 1_000_000 // step * step))
                if last is None or last.last_trade_id != part[-1].trade_id:
                    return False
        return True

    def _has_features(self) -> bool:
        self._wrong_features = self._features_problems()
        return not self._wrong_features

    def _features_problems(self) -> list[str]:
        """Name candles whose row of features is missing, extra, or made of another version of the candle."""
        rows: dict[tuple[str, str, int], Features] = {}
        for value in everything(self._broker, FEATURES):
            row = msgspec.json.decode(value, type=Features)
            known = rows.get((row.pair, row.timeframe, row.open_ms))
            if known is None or row.as_of_ms >= known.as_of_ms:
                rows[row.pair, row.timeframe, row.open_ms] = row
        expected = {(pair, *key): candle for pair, found in self.candles.items() for key, candle in found.items()}
        problems = [f"missing {key}" for key in expected.keys() - rows.keys()]
        problems += [f"extra {key}" for key in rows.keys() - expected.keys()]
        for key in expected.keys() & rows.keys():
            candle, row = expected[key], rows[key]
            if (row.close, row.volume) != (candle.close, candle.volume):
                problems.append(f"{key} revision {row.revision} instead of {candle.revision} of {candle.closed_by}")
        return problems


def history(chance: random.Random) -> dict[str, list[Trade]]:
    """Draw trades of some hours, in bursts, with silent minutes."""
    found: dict[str, list[Trade]] = {}
    for pair in PAIRS:
        at_ms, price, trades = START_MS + chance.randrange(60_000), 100.0, []
        for trade_id in range(1, TRADES_A_PAIR + 1):
            at_ms += int(chance.expovariate(1 / 1_500)) + (chance.randrange(600_000) if chance.random() < 0.001 else 0)
            price = round(max(1.0, price * chance.gauss(1, 0.001)), 2)
            qty, side = round(chance.uniform(0.001, 5), 8), chance.choice(SIDES)
            trades.append(Trade(pair, trade_id, at_ms * 1_000_000, price, qty, side, "market", "replay"))
        found[pair] = trades
    return found


def envelopes(trades: dict[str, list[Trade]], chance: random.Random) -> list[tuple[str, list[Trade]]]:
    """Cut the history into envelopes of 1..60 trades; some come twice, neighbours change places."""
    found: list[tuple[int, str, list[Trade]]] = []
    for pair, all_trades in trades.items():
        at = 0
        while at < len(all_trades):
            size = chance.choice([1, 1, 2, 5, 60])
            # No envelope spans more than 5 minutes: with 1 minute of disorder nothing is late beyond 15.
            part = [one for one in all_trades[at : at + size] if one.ts_ns - all_trades[at].ts_ns < 300_000_000_000]
            found.append((part[0].ts_ns, pair, part))
            if chance.random() < 0.05:
                found.append((part[0].ts_ns + 1_000_000_000 * chance.randrange(100), pair, part))
            at += len(part)
    found.sort(key=lambda one: one[0] + chance.randrange(60_000_000_000))
    return [(pair, part) for _, pair, part in found]
