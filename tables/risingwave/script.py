"""The numbered SQL files as a list of objects: name, kind, text, and which objects each is made of."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

import msgspec

from redpanda.errors import ConfigError
from tables.clickhouse.sql import split_statements, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redpanda.settings import BrokerSettings
    from tables.clickhouse.settings import StoreSettings
    from tables.risingwave.settings import RisingWaveSettings

__all__ = ["FOLDER", "HIDDEN", "Piece", "pieces", "quoted", "values"]

FOLDER: Final = Path(__file__).parent
HIDDEN: Final = "'***'"
_HEAD: Final = re.compile(
    r"^CREATE\s+(SOURCE|MATERIALIZED VIEW|SINK)\s+IF NOT EXISTS\s+([a-z_][a-z0-9_]*)\b", re.MULTILINE
)
_SECRETS: Final = ("clickhouse_password",)


class Piece(msgspec.Struct, frozen=True, dict=True):
    """One object of the database."""

    name: str
    kind: str
    """`SOURCE`, `MATERIALIZED VIEW` or `SINK`."""
    text: str
    """The statement with `${...}` where settings go."""
    sql: str
    """The statement as it is sent; it may hold a password."""
    shown: str
    """The same for a person, without passwords."""
    needs: tuple[str, ...]
    """Objects that it reads, in the order of the files."""

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of what is sent without comments: a changed address or password makes another object, too."""
        return hashlib.sha256(" ".join(token.text for token in tokens(self.sql)).encode()).hexdigest()


def quoted(text: str) -> str:
    """Write `text` as an SQL string.

    Raises
    ------
    ConfigError
        It holds a control character: no address or password does.
    """
    if any(ord(letter) < 0x20 for letter in text):  # noqa: PLR2004  # the first printable character
        raise ConfigError("a RisingWave setting holds a control character: write it on one line")
    return "'" + text.replace("'", "''") + "'"


def values(settings: RisingWaveSettings, broker: BrokerSettings, store: StoreSettings) -> dict[str, str]:
    """Give what stands for each `${...}`, unquoted; `clickhouse_url` is missing where nothing is to be sent there."""
    found = {
        "broker": settings.risingwave_broker or broker.broker_url,
        "history": f"{settings.risingwave_history_days} days",
    }
    if settings.risingwave_clickhouse_url:
        found |= {
            "clickhouse_url": settings.risingwave_clickhouse_url,
            "clickhouse_user": settings.risingwave_clickhouse_user,
            "clickhouse_password": settings.risingwave_clickhouse_password.get_secret_value(),
            "clickhouse_database": store.clickhouse_database,
        }
    return found


def pieces(settings: Mapping[str, str], texts: Iterable[str] | None = None) -> list[Piece]:
    """Read all statements in the order in which they are applied.

    A statement with a `${...}` that `settings` does not know is left out: its other end is not configured.

    Parameters
    ----------
    texts
        Scripts in order; None: the files of this folder.

    Raises
    ------
    ConfigError
        A statement that is none of the three kinds, or a name that comes twice.
    """
    literals = {name: quoted(value) for name, value in settings.items()}
    hidden = literals | {name: HIDDEN for name in _SECRETS if name in literals}
    found: dict[str, Piece] = {}
    for script in texts if texts is not None else [path.read_text() for path in sorted(FOLDER.glob("[0-9]*.sql"))]:
        for text in split_statements(script):
            head = _HEAD.search(text)
            if head is None or head[2] in found:
                raise ConfigError(f"tables/risingwave: not one new source, view or sink: {text[:60]!r}")
            needs = tuple(name for name in found if name in _words(text, head[2]))
            template = Template(text)
            if set(template.get_identifiers()) <= literals.keys():
                found[head[2]] = Piece(
                    head[2], head[1], text, template.substitute(literals), template.substitute(hidden), needs
                )
    return list(found.values())


def _words(text: str, own: str) -> set[str]:
    """Names that follow FROM, JOIN or a window function's bracket: what the statement reads."""
    words = [token.text for token in tokens(text)]
    return {
        word
        for at, word in enumerate(words)
        if at
        and word != own
        and (
            words[at - 1].upper() in {"FROM", "JOIN"}
            or (words[at - 1] == "(" and words[at - 2].upper() in {"HOP", "TUMBLE"})
        )
    }
