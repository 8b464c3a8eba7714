"""Which version an alias points at: the one question that is asked all the time.

A sqlite registry is asked with sqlite3 alone: the same question through MLflow costs a process 4 s of imports
and 200 MB. The two tables read here are those of the pinned mlflow-skinny; a test holds the answers equal.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["AliasReader", "MlflowAliases", "SqliteAliases", "Target"]

BUSY_S: Final = 10.0
_QUERY: Final = """
    SELECT v.version, v.source FROM registered_model_aliases a
    JOIN model_versions v ON v.workspace = a.workspace AND v.name = a.name AND v.version = a.version
    WHERE a.name = ? AND a.alias = ?
"""


class Target(NamedTuple):
    """Where an alias points."""

    version: str
    source: str
    """URI or path of the artefact folder."""


class AliasReader(Protocol):
    """Answers where an alias points; None where it does not exist."""

    def target(self, name: str, alias: str) -> Target | None: ...


class SqliteAliases:
    """Reads MLflow's sqlite file; a file or table that is not there yet is an alias that is not there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def target(self, name: str, alias: str) -> Target | None:
        if not self._path.exists():
            return None
        try:
            with closing(
                sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=BUSY_S)
            ) as connection:
                row = connection.execute(_QUERY, (name, alias)).fetchone()
        except sqlite3.Error as error:
            if "no such" in str(error):  # table or column: another process is creating it right now
                return None
            raise UnreachableError(
                f"the model registry {self._path} cannot be read ({error}): check the file, "
                "or set TICKCAST_MLFLOW_URI to another registry"
            ) from error
        return Target(str(row[0]), str(row[1])) if row else None


class MlflowAliases:
    """Asks MLflow: for registries that are neither a sqlite file nor a server that plain HTTP can ask (`ml.served`)."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def target(self, name: str, alias: str) -> Target | None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  # 4 s of imports, only where needed

        try:
            found = self._client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise UnreachableError(f"the model registry did not answer ({error}): check TICKCAST_MLFLOW_URI") from error
        return Target(str(found.version), str(found.source))


def sqlite_path(uri: str) -> Path | None:
    """Give the file of a `sqlite:///` URI; None for any other."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)[1:]) if parts.scheme == "sqlite" else None


def local_folder(source: str) -> Path | None:
    """Give the folder of a path or `file:` URI; None for a remote one."""
    parts = urlsplit(source)
    return Path(unquote(parts.path)) if parts.scheme in {"", "file"} else None
