"""A seeded market: any trade of any pair is a pure function of (seed, rate, pair, id).

Time is cut into blocks with a fixed number of trades, so the id of every trade is known without what came
before it, and a restarted simulator goes on with the same history. Inside a block arrivals cluster (bursts
with exponential decay over an intensity that follows volatility), volatility has regimes and long memory,
and the signs of orders persist. Order flow leaks a few hundredths of itself into later returns: there is
something to learn in volatility, and very little in direction, as in a real market.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import numpy.typing as npt

from agents.trades.sim.noise import Floats, Ints, key_of, normal, smooth, uniform

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GENESIS_NS", "LOTS", "Block", "Market", "PairProfile", "profile_of"]

GENESIS_NS: Final = 1_704_067_200_000_000_000
"""2024-01-01 UTC: trade 1 of every pair comes after it."""
LOTS: Final = 100_000_000
"""Quantities are whole 1e-8."""
KNOT_S: Final = 16 * 86_400
"""The price comes back to its level over weeks: independent knots, a random walk between them."""
KNOT_STD: Final = 0.12
DAY_S: Final = 86_400
BLOCK_TRADES: Final = 50_000
CACHED_BLOCKS: Final = 48
BURST_SLOT_S: Final = 60.0
BURST_DECAY_S: Final = 25.0
FLOW_LEAK: Final = 0.08
STORM: Final = 0.8
CALM: Final = -0.6
"""Where the regime noise makes a market stormy or calm."""
NEW_ORDER: Final = 0.6
"""Share of trades that start a new taker order; the others are its further fills, at the same time."""


class PairProfile(msgspec.Struct, frozen=True):
    """What distinguishes one pair."""

    price: float
    decimals: int
    daily_vol: float
    activity: float
    """Trade rate over the mean of all pairs."""
    order_quote: float = 300.0
    """Median order, in quote currency."""


_PROFILES: Final = {
    "BTC/USD": PairProfile(60_000.0, 1, 0.028, 1.3, 900.0),
    "ETH/USD": PairProfile(3_000.0, 2, 0.036, 1.1, 600.0),
    "SOL/USD": PairProfile(150.0, 2, 0.048, 0.9),
    "ADA/USD": PairProfile(0.45, 6, 0.045, 0.7),
    "DOGE/USD": PairProfile(0.15, 7, 0.05, 0.8),
}


class Block(msgspec.Struct, frozen=True):
    """The trades of one pair in one stretch of time, as columns."""

    first_id: int
    ts_ns: Ints
    ticks: Ints
    """Price in units of 10**-decimals."""
    lots: Ints
    buy: npt.NDArray[np.bool_]
    market: npt.NDArray[np.bool_]


def profile_of(pair: str) -> PairProfile:
    """Profile of a known pair, or a made-up one that only depends on the name."""
    known = _PROFILES.get(pair)
    if known is not None:
        return known
    draw = uniform(key_of("profile", pair), np.arange(2, dtype=np.int64))
    return PairProfile(round(0.5 * 200.0 ** float(draw[0]), 2), 4, 0.03 + 0.03 * float(draw[1]), 0.8)


class _PairMarket:
    def __init__(self, seed: int, pair: str, trades_per_min: float) -> None:
        self.profile = profile_of(pair)
        per_s = trades_per_min * self.profile.activity / 60.0
        level = 4
        while per_s * KNOT_S / 2**level > BLOCK_TRADES:
            level += 1
        self.level = level
        self.block_ns = KNOT_S * 1_000_000_000 // 2**level
        self.block_s = self.block_ns / 1e9
        self.size = max(1, round(per_s * self.block_s))
        self._name = (seed, pair)

    def _key(self, *parts: object) -> int:
        return key_of(*self._name, *parts)

    def _anchor(self, block: int) -> float:
        """Log price over its level at the start of a block: midpoint displacement between two knots."""
        span = 2**self.level
        knot, place = divmod(block, span)
        edges = normal(self._key("knot"), np.array([knot, knot + 1], dtype=np.int64)) * KNOT_STD
        low, high = float(edges[0]), float(edges[1])
        left, right = 0, span
        while place != left:
            middle = (left + right) // 2
            std = self.profile.daily_vol * math.sqrt((right - left) * self.block_s / DAY_S) / 2.0
            draw = normal(self._key("middle"), np.array([knot * span + middle], dtype=np.int64))
            value = (low + high) / 2.0 + std * float(draw[0])
            if place < middle:
                right, high = middle, value
            else:
                left, low = middle, value
        return low

    def _log_vol(self, t_s: Floats) -> Floats:
        """Log volatility around zero: slow swings, hours, minutes, and regimes of 45 minutes."""
        slow = 0.30 * smooth(self._key("vol-1"), t_s, 6 * 3_600.0)
        mid = 0.30 * smooth(self._key("vol-2"), t_s, 2_400.0)
        fast = 0.20 * smooth(self._key("vol-3"), t_s, 300.0)
        regime = smooth(self._key("regime"), t_s, 2_700.0)
        return np.asarray(slow + mid + fast + np.where(regime > STORM, 0.55, np.where(regime < CALM, -0.45, 0.0)))

    def _intensity(self, t_s: Floats, log_vol: Floats) -> Floats:
        """Arrivals follow volatility, and bursts excite more of themselves for half a minute."""
        base = np.exp(0.8 * log_vol + 0.35 * smooth(self._key("rate"), t_s, 120.0))
        slot = np.floor(t_s / BURST_SLOT_S).astype(np.int64)
        burst = np.zeros_like(t_s)
        for lag in range(4):
            index = np.maximum(slot - lag, 0)
            begins = uniform(self._key("burst"), index) < 0.07  # noqa: PLR2004  # share of minutes with a burst
            start = (slot - lag + uniform(self._key("burst-at"), index)) * BURST_SLOT_S
            size = 3.0 * uniform(self._key("burst-size"), index) ** -0.4
            age = t_s - start
            burst += np.where(begins & (age >= 0), size * np.exp(-np.maximum(age, 0.0) / BURST_DECAY_S), 0.0)
        return np.asarray(base * (1.0 + burst))

    def build(self, block: int) -> Block:
        """Make a block; the same in every process."""
        key = self._key("block", block)
        count = np.arange(self.size, dtype=np.int64)
        start_s = block * self.block_s
        starts = uniform(key, count) < NEW_ORDER
        starts[0] = True
        order = np.cumsum(starts) - 1
        orders = int(order[-1]) + 1
        grid_points = int(min(DAY_S, max(256.0, self.block_s)))
        grid = start_s + np.arange(grid_points + 1) * (self.block_s / grid_points)
        log_vol = self._log_vol(grid)
        mass = np.concatenate(([0.0], np.cumsum(self._intensity(grid, log_vol)[:-1])))
        gaps = np.cumsum(-np.log(uniform(key ^ 1, np.arange(orders + 1, dtype=np.int64))))
        at_s = np.interp(gaps[:-1] / gaps[-1] * mass[-1], mass, grid)
        sign, path = self._path(block, key, at_s, np.interp(at_s, grid, log_vol))
        price = self.profile.price * np.exp(path)
        fill = count - np.flatnonzero(starts)[order]
        tick = 10.0**self.profile.decimals
        half_spread = np.maximum(0.5, price * tick * 3e-5)
        ticks = np.rint(price * tick + sign * half_spread)[order] + sign[order] * fill
        quote = self.profile.order_quote * np.exp(1.3 * normal(key ^ 2, count))
        offset_us = np.floor((at_s - start_s) * 1e6).astype(np.int64)
        offset_us = np.clip(offset_us, 0, self.block_ns // 1_000 - 1)
        return Block(
            first_id=block * self.size + 1,
            ts_ns=GENESIS_NS + block * self.block_ns + (offset_us * 1_000)[order],
            ticks=np.maximum(ticks, 1).astype(np.int64),
            lots=np.maximum(np.rint(quote / price[order] * LOTS), 1).astype(np.int64),
            buy=sign[order] > 0,
            market=uniform(key ^ 3, np.arange(orders, dtype=np.int64))[order] < 0.45,  # noqa: PLR2004  # share
        )

    def _path(self, block: int, key: int, at_s: Floats, log_vol: Floats) -> tuple[Floats, Floats]:
        """Signs of the orders and the log price after each, from this block's anchor to the next one's."""
        index = np.arange(len(at_s), dtype=np.int64)
        flow = smooth(self._key("flow-1"), at_s, 90.0) + 0.7 * smooth(self._key("flow-2"), at_s, 420.0)
        lean = 0.56 * np.tanh(flow)
        sign = np.where(uniform(key ^ 4, index) < 0.5 + lean / 2.0, 1.0, -1.0)
        sigma = self.profile.daily_vol * math.sqrt(self.block_s / DAY_S / len(at_s)) * np.exp(0.45 * log_vol)
        steps = sigma * (0.85 * normal(key ^ 5, index) + 0.45 * (sign - (1.0 - FLOW_LEAK) * lean))
        walk = np.cumsum(steps)
        share = np.cumsum(sigma * sigma)
        begin, end = self._anchor(block), self._anchor(block + 1)
        bridge = (end - begin - walk[-1]) * share / share[-1]
        return sign, begin + walk + bridge


class Market:
    """All pairs of one simulated exchange; blocks are made on demand and the last ones kept."""

    def __init__(self, seed: int, trades_per_min: float) -> None:
        self._seed = seed
        self._trades_per_min = trades_per_min
        self._pairs: dict[str, _PairMarket] = {}
        self._blocks: OrderedDict[tuple[str, int], Block] = OrderedDict()

    def _pair(self, pair: str) -> _PairMarket:
        if pair not in self._pairs:
            self._pairs[pair] = _PairMarket(self._seed, pair, self._trades_per_min)
        return self._pairs[pair]

    def _block(self, pair: str, block: int) -> Block:
        key = (pair, block)
        made = self._blocks.get(key)
        if made is None:
            made = self._blocks[key] = self._pair(pair).build(block)
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return made

    def first_id_at(self, pair: str, at_ns: int) -> int:
        """Id of the first trade at or after `at_ns`."""
        if at_ns <= GENESIS_NS:
            return 1
        block = (at_ns - GENESIS_NS) // self._pair(pair).block_ns
        made = self._block(pair, block)
        return made.first_id + int(np.searchsorted(made.ts_ns, at_ns, side="left"))

    def slices(self, pair: str, first_id: int, end_id: int) -> Iterator[tuple[Block, int, int]]:
        """Blocks, each with a start and an end row, that hold ids [first_id, end_id)."""
        size = self._pair(pair).size
        while first_id < end_id:
            made = self._block(pair, (first_id - 1) // size)
            start = first_id - made.first_id
            end = min(size, end_id - made.first_id)
            yield made, start, end
            first_id = made.first_id + end
