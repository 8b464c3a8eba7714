"""When a batch counts as stored, against a model of a store that notes tokens before rows."""

from __future__ import annotations

from enum import Enum

from hypothesis import example, given
from hypothesis import strategies as st

from tables.clickhouse.attempts import Attempts


class End(Enum):
    """How an attempt can end, as its client and its store see it."""

    ANSWERED = "the store has done it and says yes"
    NOT_BEGUN = "nothing listens"
    ANSWER_LOST = "done, and the connection breaks before the yes"
    KILLED_AFTER_THE_NOTE = "SIGKILL when the token is written down and the rows are not"
    HANGS = "no answer; it goes on whenever the store does"


class Server:
    """One table with one key: what was written last counts. Tokens are noted before the rows."""

    def __init__(self) -> None:
        self.noted: set[str] = set()
        self.value: int | None = None
        self.hanging: list[tuple[str, int]] = []

    def insert(self, token: str, value: int, end: End) -> bool:
        """Take an attempt; tells whether the client sees a yes."""
        if end is End.HANGS:
            self.hanging.append((token, value))
        elif end is End.KILLED_AFTER_THE_NOTE:
            self.noted.add(token)
            self.hanging.clear()  # the process has ended
        elif end is not End.NOT_BEGUN:
            self._land(token, value)
        return end is End.ANSWERED

    def wake(self) -> None:
        """Let everything that hangs land."""
        while self.hanging:
            self._land(*self.hanging.pop())

    def _land(self, token: str, value: int) -> None:
        if token not in self.noted:
            self.noted.add(token)
            self.value = value


def store(server: Server, batch: int, ends: list[End]) -> None:
    """Do what the sink does, with attempts that end as told, and with yes when nothing more is told."""
    attempts = Attempts(f"candles-0-{batch}")
    while True:
        if not server.insert(attempts.token, batch, ends.pop(0) if ends else End.ANSWERED):
            attempts.failed()
        elif attempts.proven():
            return


ENDS = st.lists(st.sampled_from(End), max_size=6)


@given(batches=st.lists(ENDS, min_size=1, max_size=4), wakes=st.sets(st.integers(0, 3)))
@example(batches=[[End.KILLED_AFTER_THE_NOTE]], wakes=set())
@example(batches=[[End.HANGS], []], wakes={1})
@example(batches=[[End.ANSWER_LOST, End.ANSWERED, End.KILLED_AFTER_THE_NOTE]], wakes=set())
def test_what_is_proven_is_there_and_nothing_older_lands_on_it(batches: list[list[End]], wakes: set[int]) -> None:
    server = Server()
    for number, ends in enumerate(batches):
        store(server, number, list(ends))
        if number in wakes:
            server.wake()
        assert server.value == number


def test_a_batch_without_trouble_is_inserted_once_and_under_its_own_name() -> None:
    attempts = Attempts("candles-0-0-9-1")
    assert [attempts.token] == ["candles-0-0-9-1"]
    assert attempts.proven()


def test_tokens_of_one_batch_differ_only_when_a_yes_proved_nothing() -> None:
    attempts = Attempts("a")
    attempts.failed()
    tokens = [attempts.token]
    assert not attempts.proven()
    tokens.append(attempts.token)
    assert tokens == ["a", "a~1"]
    assert attempts.proven()
