"""What the registry holds, for those who only look: no MLflow, no CatBoost where it is a sqlite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from ml.alias import BUSY_S, local_folder, sqlite_path
from ml.registry import REPORT, Registry
from ml.versions import Shelf, Version, horizon_of, number
from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ml.settings import MlSettings

__all__ = ["Registered", "registered"]

_VERSIONS: Final = """
    SELECT v.name, v.version, v.creation_time, v.source,
        (SELECT json_group_array(a.alias) FROM registered_model_aliases a
            WHERE a.workspace = v.workspace AND a.name = v.name AND a.version = v.version),
        (SELECT json_group_object(t.key, t.value) FROM model_version_tags t
            WHERE t.workspace = v.workspace AND t.name = v.name AND t.version = v.version)
    FROM model_versions v ORDER BY v.name, v.version DESC
"""


class Registered(msgspec.Struct, frozen=True):
    """One version of the model of a horizon."""

    horizon_s: int
    version: str
    model: str
    """`ewma-vol` (the baseline), `catboost`: as the forecasts name it."""
    aliases: list[str]
    """Of `challenger`, `champion`, `previous`."""
    created_ms: int
    trained_from_ms: int | None
    trained_to_ms: int | None
    """open_ms of the oldest and newest candle of its data; None for the baseline, which learns nothing."""
    feature_set: str
    verdict: str
    """`promote` or `refuse`, as the gate said; empty for the baseline."""
    has_report: bool


def registered(settings: MlSettings) -> list[Registered]:
    """List every version, by horizon and the newest first. Blocking.

    Raises
    ------
    UnreachableError
        The registry does not answer.
    """
    registry = Registry(settings)
    path = sqlite_path(registry.uri)
    # A server is asked through MLflow: 4 s of imports the first time.
    rows = _of_server(settings) if path is None else _of_file(path)
    return sorted(rows, key=lambda row: (row.horizon_s, -row.created_ms, -int(row.version)))


def _of_file(path: Path) -> Iterator[Registered]:
    """Read MLflow's sqlite file; one that is not there yet has no models yet."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            rows = connection.execute(_VERSIONS).fetchall()
    except sqlite3.Error as error:
        if "no such" in str(error):  # table or column: another process is creating it right now
            return
        raise UnreachableError(
            f"the model registry {path} cannot be read ({error}): check the file, "
            "or set TICKCAST_MLFLOW_URI to another registry"
        ) from error
    for name, version, created_ms, source, aliases, tags in rows:
        horizon_s = horizon_of(name)
        if horizon_s is not None:
            found: dict[str, str] = msgspec.json.decode(tags)
            folder = local_folder(source)
            has_report = folder is not None and (folder.parent / REPORT).is_file()
            yield _row(horizon_s, str(version), created_ms, sorted(msgspec.json.decode(aliases)), found, has_report)


def _of_server(settings: MlSettings) -> Iterator[Registered]:
    return (_of_version(version) for version in Shelf(settings).versions())


def _of_version(one: Version) -> Registered:
    # Whether its artefacts hold a report would be one more question each: what went through the gate has one.
    return _row(one.horizon_s, one.version, one.created_ms, one.aliases, one.tags, bool(one.verdict))


def _row(
    horizon_s: int, version: str, created_ms: int, aliases: list[str], tags: dict[str, str], has_report: bool
) -> Registered:
    return Registered(
        horizon_s=horizon_s,
        version=version,
        model=tags.get("kind", ""),
        aliases=aliases,
        created_ms=created_ms,
        trained_from_ms=number(tags.get("data_from_ms")),
        trained_to_ms=number(tags.get("data_to_ms")),
        feature_set=tags.get("feature_set", ""),
        verdict=tags.get("verdict", ""),
        has_report=has_report,
    )
