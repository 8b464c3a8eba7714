"""The lease as a state machine: whatever is delayed, lost, stopped or read late, two never believe at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.trades.lease import MAX_TTL_MS, Lease, LeaseLog, LeaseRecord

TTL_MS = 5_000
PAIRS = ("BTC/USD", "ETH/USD")


class World:
    """A log, the broker's clock, and processes whose clocks are set and run differently.

    `gain` is how much faster the broker's clock runs than true time, `rates` the same of each process; the sum of both
    stays within the fifth that a holder gives away.
    """

    def __init__(
        self, sets: list[tuple[str, ...]], gain: float = 0.0, rates: tuple[float, ...] = (0.0, 0.0, 0.0)
    ) -> None:
        self.sets = sets
        self.true_s = 1_000.0
        self.gain, self.rates = gain, rates
        self.log: list[tuple[int, LeaseRecord]] = []
        self.wire: list[LeaseRecord] = []
        self.members: list[Lease] = []
        self.read_to = [0] * len(sets)
        self.lives = 0
        for index in range(len(sets)):
            self.members.append(self.born(index))

    def born(self, index: int, cut: int = 0) -> Lease:
        """Start a process; it sees the log from `cut` on only."""
        self.lives += 1
        lease = Lease(f"h{index}:{self.lives}#x", self.sets[index], TTL_MS)
        self.read_to[index] = cut
        for offset in range(cut, len(self.log)):
            lease.take(offset, *self.log[offset], self.now_s(index))
        self.read_to[index] = len(self.log)
        lease.caught_up(self.now_s(index))
        return lease

    def now_s(self, index: int) -> float:
        return 77_000.0 * index + self.true_s * (1 - self.rates[index])

    def append(self, at: int, *, keep: bool = False) -> None:
        if self.wire:
            at %= len(self.wire)
            self.log.append((int(self.true_s * 1_000 * (1 + self.gain)), self.wire[at]))
            if not keep:
                del self.wire[at]

    def read(self, index: int, most: int = 1_000) -> None:
        for offset in range(self.read_to[index], min(len(self.log), self.read_to[index] + most)):
            self.members[index].take(offset, *self.log[offset], self.now_s(index))
            self.read_to[index] = offset + 1

    def say(self, index: int) -> None:
        if record := self.members[index].next(self.now_s(index)):
            self.wire.append(record)

    def step(self, index: int) -> None:
        """A process that runs as it should."""
        self.say(index)
        while self.wire:
            self.append(0)
        self.read(index)

    def valid(self) -> list[int]:
        return [at for at, member in enumerate(self.members) if member.is_valid(self.now_s(at))]

    def check(self) -> None:
        for one, other in combinations(self.valid(), 2):
            assert not set(self.sets[one]) & set(self.sets[other]), "two believe that they hold a pair"


SETS = st.lists(st.sampled_from([PAIRS, PAIRS[:1], PAIRS[1:]]), min_size=3, max_size=3)
MOVES = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("say"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 4)),
    st.tuples(st.just("append"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("repeat"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("drop"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([10, 300, 1_000, 2_500, 4_100, 5_100]), st.just(0)),
    st.tuples(st.just("restart"), st.integers(0, 2), st.integers(0, 40)),
    st.tuples(st.just("release"), st.integers(0, 2), st.just(0)),
)


def run(world: World, at: int, more: int) -> None:
    for _ in range(more + 1):
        world.step(at)
        world.true_s += 0.3
        world.check()


def drop(world: World, at: int) -> None:
    if world.wire:
        del world.wire[at % len(world.wire)]


def restart(world: World, at: int, cut: int) -> None:
    world.members[at] = world.born(at, min(cut, len(world.log)))


def release(world: World, at: int) -> None:
    if record := world.members[at].release(world.now_s(at)):
        world.wire.append(record)


def wait(world: World, ms: int) -> None:
    world.true_s += ms / 1_000


ACTS: dict[str, Callable[[World, int, int], None]] = {
    "run": run,
    "say": lambda world, at, _: world.say(at),
    "read": lambda world, at, most: world.read(at, most),
    "append": lambda world, at, _: world.append(at),
    "repeat": lambda world, at, _: world.append(at, keep=True),
    "drop": lambda world, at, _: drop(world, at),
    "wait": lambda world, ms, _: wait(world, ms),
    "restart": restart,
    "release": lambda world, at, _: release(world, at),
}


def play(world: World, moves: list[tuple[str, int, int]]) -> None:
    for kind, at, more in moves:
        ACTS[kind](world, at, more)
        world.check()


@given(
    sets=SETS,
    moves=st.lists(MOVES, max_size=60),
    gain=st.floats(0.0, 0.09),
    rates=st.tuples(*[st.floats(-0.05, 0.09)] * 3),
)
@settings(max_examples=400, deadline=None)
def test_two_never_believe_that_they_hold_a_pair_at_the_same_time(
    sets: list[tuple[str, ...]], moves: list[tuple[str, int, int]], gain: float, rates: tuple[float, float, float]
) -> None:
    play(World(sets, gain, rates), moves)


@given(moves=st.lists(MOVES, max_size=40))
@settings(max_examples=150, deadline=None)
def test_whatever_has_happened_one_of_those_that_run_comes_to_hold_it(moves: list[tuple[str, int, int]]) -> None:
    world = World([PAIRS] * 3)
    play(world, moves)
    world.wire.clear()
    for _ in range(int((MAX_TTL_MS + 2 * TTL_MS) / 1_000 / 0.2)):
        world.true_s += 0.2
        for index in range(3):
            world.step(index)
            world.check()
    assert len(world.valid()) == 1


def test_one_alone_holds_it_after_its_first_record() -> None:
    world = World([PAIRS])
    world.step(0)
    assert world.valid() == [0]


def test_the_first_in_the_log_wins() -> None:
    world = World([PAIRS, PAIRS])
    world.say(0)
    world.say(1)
    world.append(1)
    world.append(0)
    for index in (0, 1):
        world.read(index)
    assert world.valid() == [1]
    assert world.members[0].holder == "h1:2"


def test_a_killed_holder_is_followed_after_one_lease_and_not_before() -> None:
    world = World([PAIRS, PAIRS])
    world.step(0)
    killed_s = world.true_s
    while world.valid() != [1]:
        world.true_s += 0.05
        world.step(1)
        assert world.true_s < killed_s + TTL_MS / 1_000 + 0.2
    assert world.true_s >= killed_s + TTL_MS / 1_000


def test_a_released_lease_is_followed_at_once() -> None:
    world = World([PAIRS, PAIRS])
    world.step(0)
    world.step(1)
    record = world.members[0].release(world.now_s(0))
    assert record is not None
    world.wire.append(record)
    assert world.valid() == []
    world.step(1)
    world.step(1)
    assert world.valid() == [1]


def test_who_slept_through_its_lease_knows_before_it_reads_anything() -> None:
    world = World([PAIRS, PAIRS])
    world.step(0)
    world.true_s += TTL_MS / 1_000
    assert world.valid() == []
    world.step(1)
    assert world.valid() == [1]
    world.step(0)  # it renews what it had: refused
    assert world.valid() == [1]
    assert (world.members[0].granted, world.members[0].losses) == (False, 1)


def test_who_slept_and_was_followed_by_nobody_goes_on() -> None:
    world = World([PAIRS])
    world.step(0)
    world.true_s += 10.0
    assert world.valid() == []
    world.step(0)
    assert (world.valid(), world.members[0].losses, world.members[0].grants) == ([0], 0, 1)


def test_a_record_that_came_late_does_not_lengthen_belief() -> None:
    world = World([PAIRS])
    world.say(0)
    world.true_s += 3.9
    world.append(0)
    world.read(0)
    assert world.valid() == [0]
    world.true_s += 0.2  # 4.1 s since it was sent, 0.2 s since it was appended
    assert world.valid() == []


def test_belief_counts_from_the_record_that_was_read_back_and_not_from_a_later_one() -> None:
    world = World([PAIRS])
    world.step(0)
    for _ in range(2):
        world.true_s += 1.0
        world.say(0)
    world.append(0)  # the second renewal stays on its way
    world.read(0)
    world.true_s += 2.9
    assert world.valid() == [0]
    world.true_s += 0.2
    assert world.valid() == []


def test_a_broker_whose_clock_gains_nearly_a_fifth_makes_nobody_believe_too_long() -> None:
    world = World([PAIRS, PAIRS], gain=0.19)
    world.step(0)
    while world.valid() != [1]:
        world.true_s += 0.01
        world.step(1)
        world.check()


def test_a_claim_seen_in_doubt_may_have_been_granted_to_another() -> None:
    log = LeaseLog("me")
    pairs = ["BTC/USD"]
    late_ms = 1_000 + MAX_TTL_MS - 1
    log.take(7, 1_000, LeaseRecord("release", "gone", pairs, 2, 9, TTL_MS))
    assert not log.take(8, late_ms, LeaseRecord("claim", "other", pairs, -1, 1, TTL_MS))
    assert not log.take(9, late_ms + 10, LeaseRecord("claim", "me", pairs, -1, 1, TTL_MS))
    assert log.take(10, late_ms + 1_000, LeaseRecord("renew", "other", pairs, 8, 2, TTL_MS))
    assert log.holder(("BTC/USD",)) == "other"


def test_sets_that_share_a_pair_exclude_each_other_and_others_do_not() -> None:
    world = World([PAIRS, PAIRS[1:], PAIRS[:1]])
    world.step(1)
    for index in (0, 2):
        world.step(index)
    assert world.valid() == [1, 2]


def test_a_reader_of_a_cut_log_believes_no_claim_before_a_longest_lease_has_passed() -> None:
    log = LeaseLog("me")
    claim = LeaseRecord("claim", "me", ["BTC/USD"], -1, 1, TTL_MS)
    assert not log.take(7, 1_000, claim)
    assert log.free_at_ms(("BTC/USD",)) == 1_000 + MAX_TTL_MS
    assert not log.take(8, 999 + MAX_TTL_MS, claim)
    assert log.take(9, 1_000 + MAX_TTL_MS, claim)


@pytest.mark.parametrize("ttl_ms", [0, -1, MAX_TTL_MS + 1])
def test_a_lease_of_no_sensible_length_is_refused(ttl_ms: int) -> None:
    with pytest.raises(ValueError, match="ttl_ms"):
        Lease("me", PAIRS, ttl_ms)
