"""Bring a RisingWave database to what the files say, and remember what was applied.

What was applied stands in table `tickcast_applied`, with the checksum of its statement. RisingWave has no transaction
around DDL: the intent is written down first, so a cut run is taken up where it ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec

from redpanda.errors import ConfigError, UnreachableError
from tables.risingwave.script import Piece
from tables.risingwave.settings import RisingWaveSettings

__all__ = ["LEDGER", "Database", "PieceState", "Plan", "apply", "connect", "plan", "status"]

LEDGER: Final = "tickcast_applied"
_CREATE_LEDGER: Final = (
    f"CREATE TABLE IF NOT EXISTS {LEDGER} "
    "(name VARCHAR PRIMARY KEY, kind VARCHAR, checksum VARCHAR, state VARCHAR, at_ns BIGINT)"
)
_RELATIONS: Final = (
    "SELECT r.name FROM rw_catalog.rw_relations AS r JOIN rw_catalog.rw_schemas AS s ON s.id = r.schema_id "
    "WHERE s.name = current_schema()"
)


class Database(Protocol):
    """What is asked of a connection (`psycopg.Connection` has it)."""

    def execute(self, query: Any, params: Sequence[Any] | None = None) -> Any:
        """Run one statement; the answer has `fetchall`."""


class Known(msgspec.Struct, frozen=True):
    """What the database remembers of one object."""

    kind: str
    checksum: str
    state: str
    """`applying` or `applied`."""


class PieceState(msgspec.Struct, frozen=True):
    """One object, compared."""

    name: str
    kind: str
    word: str
    """`applied`, `pending`, `changed` (another text), `follows` (what it reads changes), `missing` (somebody dropped
    it), `foreign` (there, and not ours) or `unknown` (ours, and in no file any more)."""


class Plan(msgspec.Struct, frozen=True):
    """What an apply would do, in order."""

    drop: tuple[tuple[str, str], ...]
    """(kind, name), dependants first."""
    create: tuple[Piece, ...]
    foreign: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not (self.drop or self.create or self.foreign)


@contextmanager
def connect(settings: RisingWaveSettings) -> Iterator[Database]:
    """Open a connection, every statement by itself and as plain text: RisingWave prepares no DDL.

    Raises
    ------
    ConfigError
        No URL, a URL that cannot be read, no driver, or a statement that RisingWave refused.
    UnreachableError
        Nothing answers.
    """
    if not settings.risingwave_url:
        raise ConfigError(
            "there is no RisingWave: set TICKCAST_RISINGWAVE_URL to postgresql://user@host:4566/database "
            "(`tickcast risingwave apply --dry-run` needs none)"
        )
    try:
        import psycopg  # noqa: PLC0415  # an optional extra
    except ModuleNotFoundError:
        raise ConfigError("the driver psycopg is missing: install tickcast[risingwave]") from None
    try:
        connection = psycopg.connect(
            settings.risingwave_url,
            password=settings.risingwave_password.get_secret_value() or None,
            autocommit=True,
            connect_timeout=settings.risingwave_timeout_s,
            cursor_factory=psycopg.ClientCursor,
        )
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"RisingWave (TICKCAST_RISINGWAVE_URL) does not answer or refuses us: {_first_line(error)}. "
            "Start it, or mend the URL and TICKCAST_RISINGWAVE_PASSWORD"
        ) from error
    except psycopg.ProgrammingError as error:
        raise ConfigError(f"TICKCAST_RISINGWAVE_URL cannot be read: {_first_line(error)}") from error
    try:
        yield connection
    except psycopg.OperationalError as error:
        raise UnreachableError(f"RisingWave went away: {_first_line(error)}. Run the command again") from error
    except psycopg.Error as error:
        raise ConfigError(f"RisingWave refused a statement: {_first_line(error)}") from error
    finally:
        connection.close()


def _first_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return " ".join([first, *(f"({note})" for note in getattr(error, "__notes__", ()))])


def status(database: Database, wanted: Sequence[Piece]) -> list[PieceState]:
    """Compare every object of the files, and those that the database remembers beside them."""
    known, there = _known(database), _there(database)
    states = []
    stale: set[str] = set()
    for piece in wanted:
        word = _word(piece, known.get(piece.name), present=piece.name in there, follows=bool(stale & {*piece.needs}))
        if word in {"changed", "missing", "follows"}:
            stale.add(piece.name)
        states.append(PieceState(piece.name, piece.kind, word))
    ours = {piece.name for piece in wanted}
    states += [PieceState(name, row.kind, "unknown") for name, row in known.items() if name not in ours]
    return states


def _word(piece: Piece, known: Known | None, *, present: bool, follows: bool) -> str:
    if known is None:
        return "foreign" if present else "pending"
    if known.checksum != piece.checksum:
        return "changed" if present else "pending"
    if not present:
        return "missing" if known.state == "applied" else "pending"
    if follows:
        return "follows"
    return "applied" if known.state == "applied" else "pending"


def plan(database: Database, wanted: Sequence[Piece]) -> Plan:
    """Say what an apply would drop and create."""
    states = status(database, wanted)
    words = {state.name: state.word for state in states}
    old = {state.name: state.kind for state in states if state.word in {"changed", "follows", "unknown"}}
    # What was applied later may read what was applied before, whatever the files say by now.
    drop = [name for name in reversed(_known(database)) if name in old]
    return Plan(
        drop=tuple((old[name], name) for name in drop),
        create=tuple(piece for piece in wanted if words[piece.name] not in {"applied", "foreign"}),
        foreign=tuple(state.name for state in states if state.word == "foreign"),
    )


def apply(database: Database, wanted: Sequence[Piece], *, replace: bool = False) -> Plan:
    """Create what is missing; with `replace` also drop what changed, with all that reads it, and make it anew.

    Raises
    ------
    ConfigError
        Something would have to be dropped and `replace` is not set, or a name is taken by somebody else's object.
    """
    database.execute(_CREATE_LEDGER)
    todo = plan(database, wanted)
    if todo.foreign:
        raise ConfigError(
            f"{', '.join(todo.foreign)} exist and were not made by tickcast: drop or rename them, or use a database "
            "of its own"
        )
    if todo.drop and not replace:
        names = ", ".join(name for _, name in todo.drop)
        raise ConfigError(
            f"these would be dropped and made anew from the topics: {names}. "
            "`tickcast risingwave apply --replace` does it; --dry-run shows the statements"
        )
    for kind, name in todo.drop:
        database.execute(f"DROP {kind} IF EXISTS {name}")
        database.execute(f"DELETE FROM {LEDGER} WHERE name = %s", [name])  # noqa: S608  # our own table
        database.execute("FLUSH")
    for piece in todo.create:
        _intend(database, piece)
        try:
            database.execute(piece.sql)
        except Exception as error:
            error.add_note(f"at {piece.kind.lower()} {piece.name}; what comes before it is applied")
            raise
        # Never a moment without a row: an object that is not written down would be taken for somebody else's.
        database.execute(f"UPDATE {LEDGER} SET state = 'applied' WHERE name = %s", [piece.name])  # noqa: S608  # our own table
        database.execute("FLUSH")
    return todo


def _intend(database: Database, piece: Piece) -> None:
    """Write down what is about to be made; nothing of that name is there."""
    # DELETE and INSERT: an insert of a known key means another thing in RisingWave than in PostgreSQL.
    database.execute(f"DELETE FROM {LEDGER} WHERE name = %s", [piece.name])  # noqa: S608  # our own table
    database.execute(
        f"INSERT INTO {LEDGER} (name, kind, checksum, state, at_ns) VALUES (%s, %s, %s, 'applying', %s)",  # noqa: S608  # our own table
        [piece.name, piece.kind, piece.checksum, time.time_ns()],
    )
    # RisingWave shows rows at its next barrier, unless asked to.
    database.execute("FLUSH")


def _there(database: Database) -> set[str]:
    return {name for (name,) in database.execute(_RELATIONS).fetchall()}


def _known(database: Database) -> dict[str, Known]:
    """Read what the database remembers, in the order in which it was applied."""
    if LEDGER not in _there(database):
        return {}
    rows = database.execute(f"SELECT name, kind, checksum, state FROM {LEDGER} ORDER BY at_ns").fetchall()  # noqa: S608  # our own table
    return {name: Known(kind, checksum, state) for name, kind, checksum, state in rows}
