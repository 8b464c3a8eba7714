"""Applying the files, with psycopg on a real PostgreSQL.

The statements go through tests/support/risingwave.py, and a sink becomes an empty table of its name: this proves the
bookkeeping, the order and the errors, and says nothing of what RisingWave makes of a statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from redpanda.errors import ConfigError, UnreachableError
from tables.risingwave import apply as applying
from tables.risingwave.script import Piece, pieces
from tables.risingwave.settings import RisingWaveSettings
from tests.support.risingwave import CATALOGUE, to_postgres

SOURCE = "CREATE SOURCE IF NOT EXISTS raw (\n    a INT\n)\nWITH (x = ${broker})"
VIEW = "CREATE MATERIALIZED VIEW IF NOT EXISTS doubled AS SELECT a * 2 AS b FROM raw"
ABOVE = "CREATE MATERIALIZED VIEW IF NOT EXISTS above AS SELECT b FROM doubled WHERE b > 1"
ASIDE = "CREATE MATERIALIZED VIEW IF NOT EXISTS aside AS SELECT a FROM raw"
SINK = "CREATE SINK IF NOT EXISTS out_sink FROM above\nWITH (y = ${broker})"
ALL = (SOURCE, VIEW, ABOVE, ASIDE, SINK)


class Translating:
    """A connection that speaks RisingWave's statements to PostgreSQL, and keeps what was asked."""

    def __init__(self, inner: applying.Database, wanted: Sequence[Piece]) -> None:
        self._inner = inner
        self._sql = {piece.sql: to_postgres(piece) or f"CREATE TABLE {piece.name} ()" for piece in wanted}
        self.asked: list[str] = []
        self.die_after = ""

    def execute(self, query: Any, params: Sequence[Any] | None = None) -> Any:
        self.asked.append(query)
        sql = self._sql.get(query, query)
        if sql == "FLUSH":
            return None
        sql = sql.replace("DROP SOURCE", "DROP TABLE").replace("DROP SINK", "DROP TABLE")
        answer = self._inner.execute(sql, params)
        if self.die_after and self.die_after in query:
            raise KeyboardInterrupt
        return answer


@pytest.fixture
def settings(postgres_database: str) -> RisingWaveSettings:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(CATALOGUE)
    return RisingWaveSettings(risingwave_url=postgres_database)


def script(*texts: str, broker: str = "a:1") -> list[Piece]:
    return pieces({"broker": broker}, texts)


@contextmanager
def opened(settings: RisingWaveSettings, wanted: Sequence[Piece]) -> Iterator[Translating]:
    with applying.connect(settings) as database:
        yield Translating(database, wanted)


def run(settings: RisingWaveSettings, wanted: Sequence[Piece], *, replace: bool = False) -> tuple[list[str], list[str]]:
    """Apply; what was dropped and what was created."""
    with opened(settings, wanted) as database:
        done = applying.apply(database, wanted, replace=replace)
    return [name for _, name in done.drop], [piece.name for piece in done.create]


def words(settings: RisingWaveSettings, wanted: Sequence[Piece]) -> dict[str, str]:
    with opened(settings, wanted) as database:
        return {state.name: state.word for state in applying.status(database, wanted)}


pytestmark = pytest.mark.component


def test_second_apply_does_nothing(settings: RisingWaveSettings) -> None:
    wanted = script(*ALL)
    assert set(words(settings, wanted).values()) == {"pending"}
    assert run(settings, wanted) == ([], ["raw", "doubled", "above", "aside", "out_sink"])
    assert run(settings, wanted) == ([], [])
    assert set(words(settings, wanted).values()) == {"applied"}


def test_changed_view_is_replaced_with_all_that_reads_it_and_only_when_asked(settings: RisingWaveSettings) -> None:
    run(settings, script(*ALL))
    changed = script(SOURCE, VIEW.replace("* 2", "* 3"), ABOVE, ASIDE, SINK)
    assert words(settings, changed) == {
        "raw": "applied",
        "doubled": "changed",
        "above": "follows",
        "aside": "applied",
        "out_sink": "follows",
    }
    with pytest.raises(ConfigError, match=r"out_sink, above, doubled.*--replace"):
        run(settings, changed)
    assert words(settings, script(*ALL))["doubled"] == "applied"  # nothing was touched
    assert run(settings, changed, replace=True) == (["out_sink", "above", "doubled"], ["doubled", "above", "out_sink"])
    assert set(words(settings, changed).values()) == {"applied"}


def test_changed_setting_makes_what_names_it_anew(settings: RisingWaveSettings) -> None:
    run(settings, script(*ALL))
    moved = script(*ALL, broker="b:2")
    assert run(settings, moved, replace=True)[1] == ["raw", "doubled", "above", "aside", "out_sink"]


def test_piece_that_left_the_files_is_dropped_only_when_asked(settings: RisingWaveSettings) -> None:
    run(settings, script(*ALL))
    fewer = script(SOURCE, VIEW, ASIDE)
    assert {name for name, word in words(settings, fewer).items() if word == "unknown"} == {"above", "out_sink"}
    with pytest.raises(ConfigError, match="--replace"):
        run(settings, fewer)
    assert run(settings, fewer, replace=True) == (["out_sink", "above"], [])


def test_what_left_the_files_goes_after_what_read_it(settings: RisingWaveSettings) -> None:
    run(settings, script(*ALL))
    without = script(SOURCE, ABOVE.replace("b FROM doubled WHERE b", "a FROM raw WHERE a"), ASIDE, SINK)
    with pytest.raises(ConfigError, match=r"out_sink, above, doubled\. "):
        run(settings, without)
    dropped = ["out_sink", "above", "doubled"]
    assert run(settings, without, replace=True) == (dropped, ["above", "out_sink"])
    # And the other way round: what left the files read what changed.
    fewer = script(SOURCE.replace("a INT", "a BIGINT"), ASIDE)
    assert run(settings, fewer, replace=True)[0] == ["out_sink", "above", "aside", "raw"]


@pytest.mark.parametrize("place", ["DELETE FROM", "INSERT INTO", "VIEW IF NOT EXISTS doubled", "UPDATE"])
def test_cut_run_is_taken_up_where_it_ended(settings: RisingWaveSettings, place: str) -> None:
    wanted = script(*ALL)
    with opened(settings, wanted) as database:
        database.die_after = place
        with pytest.raises(KeyboardInterrupt):
            applying.apply(database, wanted)
    run(settings, wanted)
    assert set(words(settings, wanted).values()) == {"applied"}


def test_cut_run_of_another_text_is_not_taken_for_this_one(settings: RisingWaveSettings) -> None:
    wanted = script(*ALL)
    with opened(settings, wanted) as database:
        database.die_after = "VIEW IF NOT EXISTS doubled"
        with pytest.raises(KeyboardInterrupt):
            applying.apply(database, wanted)
    edited = script(SOURCE, VIEW.replace("* 2", "* 3"))
    assert words(settings, edited)["doubled"] == "changed"
    assert run(settings, edited, replace=True) == (["doubled"], ["doubled"])


def test_dropped_view_is_missing_and_comes_back(settings: RisingWaveSettings, postgres_database: str) -> None:
    wanted = script(*ALL)
    run(settings, wanted)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP TABLE out_sink")
    assert words(settings, wanted)["out_sink"] == "missing"
    assert run(settings, wanted) == ([], ["out_sink"])


def test_object_of_somebody_else_is_left_alone(settings: RisingWaveSettings, postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE doubled (mine INT)")
    with pytest.raises(ConfigError, match="doubled exist and were not made by tickcast"):
        run(settings, script(*ALL), replace=True)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        assert connection.execute("SELECT count(mine) FROM doubled").fetchall() == [(0,)]


def test_refused_statement_names_its_piece_and_the_rest_stays_applied(settings: RisingWaveSettings) -> None:
    wrong = script(SOURCE, VIEW.replace("a * 2", "nosuch"))
    with pytest.raises(ConfigError, match=r"refused a statement: column \"nosuch\".*at materialized view doubled"):
        run(settings, wrong)
    assert words(settings, wrong) == {"raw": "applied", "doubled": "pending"}


def test_errors_tell_what_to_set() -> None:
    with pytest.raises(ConfigError, match="TICKCAST_RISINGWAVE_URL"), applying.connect(RisingWaveSettings()):
        pass
    nobody = RisingWaveSettings(risingwave_url="postgresql://root@127.0.0.1:1/dev")
    with pytest.raises(UnreachableError, match="does not answer"), applying.connect(nobody):
        pass


def test_password_of_the_setting_is_used_and_never_told(postgres_database: str) -> None:
    url = postgres_database.replace("tickcast@", "nosuchuser:wrong@")
    settings = RisingWaveSettings(risingwave_url=url, risingwave_password=SecretStr("hunter2"))
    with pytest.raises(UnreachableError) as caught, applying.connect(settings):
        pass
    assert "hunter2" not in f"{caught.value} {settings!r}"
