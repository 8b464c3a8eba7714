"""Which blow falls when: everything that a seed decides, without touching a process."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["KILLING", "LONG_RUN_KILLS", "MOST_GAP_S", "SHORT_RUN_GAP_S", "Kind", "Step", "counts", "schedule"]


class Kind(StrEnum):
    """One kind of blow; the value is what the ledger calls it."""

    KILL = "worker killed"
    WIPE = "worker killed, RocksDB folder deleted"
    TEAR = "worker killed, RocksDB file truncated"
    BROKER = "broker killed and restarted"
    STALL = "worker stopped past its session"
    CHANGELOG = "changelog truncated at its head"
    LOSS = "changelog cut behind its rows, RocksDB folders deleted"
    STORE = "store killed and down"
    JOIN = "another worker joined"
    LEAVE = "a worker left"


KILLING: Final = (Kind.KILL, Kind.WIPE, Kind.TEAR)
"""What counts as a kill of the worker."""
_BESIDE: Final = (Kind.BROKER, Kind.STALL, Kind.CHANGELOG, Kind.LOSS, Kind.STORE)
_CYCLE: Final = (Kind.JOIN, Kind.JOIN, Kind.LEAVE, Kind.LEAVE)
"""Rebalances 1-2-3-2-1."""
_EACH_KILLS: Final = 10
"""One of every other kind for so many kills, at least one."""
_CYCLE_KILLS: Final = 20
_GAPS: Final = ((0.30, 0.1, 1.0), (0.45, 1.0, 5.0), (0.25, 5.0, 30.0))
"""Share, shortest and longest pause (s): bursts that hit the start-up itself, medium ones, and quiet stretches."""
MOST_GAP_S: Final = 30.0
LONG_RUN_KILLS: Final = 20
"""A run of fewer kills is meant to end in minutes: its pauses are at most `SHORT_RUN_GAP_S`."""
SHORT_RUN_GAP_S: Final = 12.0


class Step(NamedTuple):
    """One blow."""

    gap_s: float
    """Pause since the blow before was dealt."""
    kind: Kind
    seed: int
    """Of what the blow itself leaves to chance: which worker, which file, which offset."""


def schedule(kills: int, seed: int, left_out: frozenset[Kind] = frozenset()) -> list[Step]:
    """Give the blows of a run, `kills` of them kills of a worker."""
    chance = random.Random(seed)
    kinds = _order(counts(kills, left_out), chance)
    gaps = _gaps(len(kinds), MOST_GAP_S if kills >= LONG_RUN_KILLS else SHORT_RUN_GAP_S, chance)
    return [Step(gap_s, kind, chance.randrange(1 << 31)) for gap_s, kind in zip(gaps, kinds, strict=True)]


def counts(kills: int, left_out: frozenset[Kind] = frozenset()) -> dict[Kind, int]:
    """Tell how often each kind falls."""
    some = max(1, kills // _EACH_KILLS)
    found: dict[Kind, int] = {}
    for kind in (Kind.TEAR, Kind.WIPE):
        if kind not in left_out:
            found[kind] = min(some, kills - sum(found.values()))
    found[Kind.KILL] = kills - sum(found.values())
    found |= dict.fromkeys(_BESIDE, some)
    cycles = max(1, kills // _CYCLE_KILLS)
    found |= {Kind.JOIN: 2 * cycles, Kind.LEAVE: 2 * cycles}
    return {kind: number for kind, number in found.items() if number and kind not in left_out}


def _order(wanted: dict[Kind, int], chance: random.Random) -> list[Kind]:
    """Shuffle, with joins and leaves in cycles, and at least one kill among three workers in each."""
    moves = wanted.get(Kind.JOIN, 0)
    cycles = list(_CYCLE) * (moves // 2)
    others = [kind for kind, number in wanted.items() if kind not in _CYCLE for _ in range(number)]
    while True:
        chance.shuffle(others)
        places = sorted(chance.sample(range(len(others) + len(cycles)), len(cycles)))
        kinds, left = [], iter(others)
        at = dict(zip(places, cycles, strict=True))
        kinds = [at[place] if place in at else next(left) for place in range(len(others) + len(cycles))]
        crowded = [set(kinds[places[i + 1] : places[i + 2]]) for i in range(0, len(places), len(_CYCLE))]
        if all(not blows.isdisjoint(KILLING) for blows in crowded):
            return kinds


def _gaps(number: int, most_s: float, chance: random.Random) -> list[float]:
    """Draw from the three ranges by their shares, so that a short run has some of each as well."""
    ranges: list[tuple[float, float]] = []
    for share, low, high in _GAPS:
        ranges += [(low, min(high, most_s))] * round(share * number)
    ranges = (ranges + [_GAPS[1][1:]] * number)[:number]
    chance.shuffle(ranges)
    return [round(chance.uniform(low, high), 3) for low, high in ranges]
