"""When a worker counts as stuck: pure, with a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.health import Progress, ProgressWatch

STALL_S = 60.0
STILL = Progress(0, 0, 0)


class Clocked:
    """A watch that is looked at once a second, as the worker does."""

    def __init__(self) -> None:
        self.watch = ProgressWatch(STALL_S)
        self.now_s = 1_000.0

    def run(
        self,
        seconds: int,
        place: Progress,
        *,
        topic: str = "trades",
        busy_since_s: float | None = None,
        waiting: str = "",
        step: Progress = STILL,
    ) -> list[str]:
        """Look for so many seconds at a partition that moves by `step` each second; give the last answer."""
        for _ in range(seconds):
            self.now_s += 1.0
            busy = {} if busy_since_s is None else {"candles": busy_since_s}
            self.watch.look(self.now_s, {f"{topic}-0": place}, busy, {topic: waiting} if waiting else {})
            place = Progress(*(here + by for here, by in zip(place, step, strict=True)))
        return self.watch.stalls(self.now_s)


def test_partition_that_is_read_to_its_end_may_rest_for_ever() -> None:
    assert Clocked().run(10_000, Progress(5, 5, 5)) == []


def test_moving_offsets_are_alive_whatever_the_lag() -> None:
    assert Clocked().run(500, Progress(0, 0, 10**9), step=Progress(1, 1, 50)) == []


@pytest.mark.parametrize(
    ("place", "step", "said"),
    [
        (Progress(7, 7, 9), Progress(0, 0, 1), "trades-0: consumed stands at 7"),
        (Progress(9, 4, 9), Progress(1, 0, 1), "trades-0: committed stands at 4"),
    ],
)
def test_offsets_that_stand_still_under_lag_are_told_after_the_time(place: Progress, step: Progress, said: str) -> None:
    clocked = Clocked()
    assert clocked.run(int(STALL_S), place, step=step) == []
    found = clocked.run(2, Progress(*(a + int(STALL_S) * b for a, b in zip(place, step, strict=True))), step=step)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_time_counts_from_the_moment_when_there_was_something_to_do() -> None:
    clocked = Clocked()
    clocked.run(1_000, Progress(5, 5, 5))
    assert clocked.run(int(STALL_S), Progress(5, 5, 6)) == []
    assert clocked.run(2, Progress(5, 5, 6))


def test_one_step_starts_the_time_again() -> None:
    clocked = Clocked()
    clocked.run(50, Progress(5, 5, 9))
    assert clocked.run(int(STALL_S), Progress(6, 6, 9)) == []
    assert len(clocked.run(2, Progress(6, 6, 9))) == 1


def test_stage_that_keeps_one_chunk_is_told() -> None:
    clocked = Clocked()
    assert clocked.run(100, Progress(5, 5, 5), busy_since_s=clocked.now_s) == [
        "stage candles has had one chunk in hand for 100 s"
    ]


def test_topic_whose_store_is_away_is_waited_for() -> None:
    assert Clocked().run(1_000, Progress(9, 4, 9), topic="forecasts", waiting="the store does not answer") == []
    assert Clocked().run(1_000, Progress(9, 4, 9), topic="forecasts")


def test_stopped_process_is_not_judged_by_the_time_it_slept() -> None:
    clocked = Clocked()
    clocked.run(5, Progress(5, 5, 9), busy_since_s=clocked.now_s)
    clocked.now_s += 3_600.0
    assert clocked.run(int(STALL_S), Progress(5, 5, 9), busy_since_s=1_000.0) == []
    assert len(clocked.run(3, Progress(5, 5, 9), busy_since_s=1_000.0)) == 2


def test_partition_that_has_moved_to_another_worker_is_forgotten() -> None:
    clocked = Clocked()
    clocked.run(100, Progress(5, 5, 9))
    clocked.watch.look(clocked.now_s + 1, {}, {}, {})
    assert clocked.watch.stalls(clocked.now_s + 1) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=200))
def test_a_stall_is_told_exactly_when_nothing_moved_under_lag(steps: list[tuple[int, int, int]]) -> None:
    watch = ProgressWatch(5.0)
    place, history = Progress(0, 0, 0), []
    for second, (more, taken, done) in enumerate(steps):
        end = place.end + more
        consumed = min(end, place.consumed + taken)
        place = Progress(consumed, min(consumed, place.committed + done), end)
        history.append(place)
        watch.look(float(second), {"t-0": place}, {}, {})
        last = history[-7:]
        stuck = [
            name
            for name, here, there in (("consumed", 0, 2), ("committed", 1, 0))
            if len(last) == 7 and all(one[here] == last[0][here] < one[there] for one in last)
        ]
        assert [text.split()[1] for text in watch.stalls(float(second))] == sorted(stuck)
