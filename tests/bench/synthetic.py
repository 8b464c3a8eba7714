"""Trades of pairs that are no market: seeded random walks with ids that step by 1, for any number of pairs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from aiokafka.partitioner import murmur2

from tables.records import MINUTE_MS, Side, Trade

__all__ = ["Walk", "balanced_pairs", "minutes"]

MINUTE_NS = MINUTE_MS * 1_000_000


class Walk:
    """The next trade of each pair."""

    def __init__(self, pairs: Sequence[str], seed: int, next_ids: dict[str, int] | None = None) -> None:
        self._chance = random.Random(seed)
        self._price = {pair: 10.0 * (1 + at % 1_000) for at, pair in enumerate(pairs)}
        self.next_ids = dict.fromkeys(pairs, 1) | (next_ids or {})

    def trade(self, pair: str, ts_ns: int) -> Trade:
        """Make the next trade of a pair: a step of two hundredths of a percent, Kraken's decimals."""
        chance = self._chance
        price = self._price[pair] = max(1.0, self._price[pair] * (1.0 + chance.gauss(0.0, 2e-4)))
        trade_id = self.next_ids[pair]
        self.next_ids[pair] = trade_id + 1
        qty = round(chance.expovariate(2.0) + 1e-4, 8)
        side: Side = "buy" if chance.random() < 0.5 else "sell"
        return Trade(pair, trade_id, ts_ns, round(price, 2), qty, side, "market", "sim")


def balanced_pairs(count: int, partitions: int) -> list[str]:
    """Name pairs so that each partition gets the same number of them (or one more)."""
    found: list[list[str]] = [[] for _ in range(partitions)]
    at = 0
    while any(len(names) < -(-count // partitions) for names in found):
        name = f"P{at:05}/USD"
        found[(murmur2(name.encode()) & 0x7FFFFFFF) % partitions].append(name)
        at += 1
    return [names[row] for row in range(-(-count // partitions)) for names in found][:count]


def minutes(walk: Walk, pairs: Sequence[str], start_ns: int, count: int, per_minute: int) -> Iterator[Trade]:
    """Give every pair `per_minute` trades in each of `count` minutes, in the order of time."""
    step_ns = MINUTE_NS // per_minute
    for minute in range(count):
        for at in range(per_minute):
            ts_ns = start_ns + minute * MINUTE_NS + at * step_ns
            for pair in pairs:
                yield walk.trade(pair, ts_ns)
