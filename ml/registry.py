"""The model registry: versions, aliases and artefacts in MLflow, sqlite by default.

Aliases: `champion` is served, `challenger` is the newest trained, `previous` was champion before.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ml import artefact
from ml.alias import BUSY_S, AliasReader, MlflowAliases, SqliteAliases, Target, local_folder, sqlite_path
from ml.baseline import BaselineModel
from ml.errors import ModelRefusedError
from ml.inputs import INPUT_SET
from ml.lock import file_lock
from ml.model import ForecastModel, Origin
from ml.quiet_mlflow import delete_artifact, import_mlflow, mlflow_client, pages
from ml.revision import code_revision
from ml.served import ServedRegistry
from redpanda.errors import ConfigError, UnreachableError
from tables.features.catalog import FEATURE_SET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow import MlflowClient

    from ml.settings import MlSettings

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "PRUNED",
    "REPORT",
    "VERDICT",
    "Record",
    "Registry",
    "model_name",
]

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
_EXPERIMENT: Final = "tickcast"
_FOLDER: Final = "model"
VERDICT: Final = "verdict.json"
REPORT: Final = "report.html"
"""Artefact of a run that trained something: `ml.report`."""
PRUNED: Final = "pruned"
"""Tag of a version whose report was taken away."""
_log = logging.getLogger("tickcast.registry")


def model_name(horizon_s: int) -> str:
    """Name of the registered model of a horizon (MLflow refuses `/` and `:`)."""
    return f"tickcast-{horizon_s}s"


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept beside a version."""

    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    """`verdict.json` of the run."""


class Registry:
    """Registered models of one MLflow. Safe to use from several processes on one sqlite file."""

    def __init__(self, settings: MlSettings) -> None:
        folder = settings.home.resolve() / "mlflow"
        self.uri = settings.mlflow_uri or f"sqlite:///{folder / 'registry.db'}"
        scheme = self.uri.split(":", 1)[0]
        if "://" not in self.uri or scheme == "file":
            raise ConfigError(
                f"TICKCAST_MLFLOW_URI={self.uri} is a file store, which MLflow has shut: "
                "use sqlite:////absolute/path.db, or http://host:port of a server"
            )
        self._artifacts = folder / "artifacts"
        self._lock = folder / "writer.lock"
        self._sqlite = sqlite_path(self.uri)
        self._served = ServedRegistry(self.uri) if ServedRegistry.may_ask(self.uri) else None

    @cached_property
    def _client(self) -> MlflowClient:
        if self._sqlite is None:
            return mlflow_client(self.uri)
        import_mlflow()  # before the lock: it takes long
        with file_lock(self._lock.with_name("create.lock"), wait=True), self._answering():
            self._sqlite.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._sqlite, timeout=BUSY_S)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # stays with the file; readers never block
            return mlflow_client(f"{self.uri.split('?')[0]}?timeout={BUSY_S:.0f}")

    @cached_property
    def _aliases(self) -> AliasReader:
        if self._sqlite is not None:
            return SqliteAliases(self._sqlite)
        return self._served or MlflowAliases(self._client)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn every failure of MLflow and its database into one error that names the setting."""
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  # heavy: writers only

        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise UnreachableError(
                f"the model registry {self.uri} did not answer ({error}): check TICKCAST_MLFLOW_URI, "
                "the disk and TICKCAST_HOME"
            ) from error
        except Exception as error:
            if type(error).__name__ not in {"MlflowException", "RestException"}:
                raise
            raise UnreachableError(f"the model registry {self.uri} refused: {error}") from error

    def champion_version(self, horizon_s: int) -> str | None:
        """Ask which version is champion; cheap enough to ask all the time."""
        return self._version(horizon_s, CHAMPION)

    def _version(self, horizon_s: int, alias: str) -> str | None:
        target = self._aliases.target(model_name(horizon_s), alias)
        return target.version if target else None

    def champion(self, horizon_s: int) -> ForecastModel | None:
        """Load the champion and prove it; None where there is none yet. Raises as `load`."""
        target = self.champion_target(horizon_s)
        return self.load(horizon_s, target) if target else None

    def champion_target(self, horizon_s: int) -> Target | None:
        """Ask where the champion is; None where there is none. Raises UnreachableError."""
        return self._aliases.target(model_name(horizon_s), CHAMPION)

    def load(self, horizon_s: int, target: Target) -> ForecastModel:
        """Load what was the champion a moment ago and prove it.

        Raises
        ------
        UnreachableError
            The registry or its artefacts do not answer.
        ModelRefusedError
            Corrupt artefact, or features, inputs or horizon of another version.
        """
        return self._load(horizon_s, target, CHAMPION)

    def _load(self, horizon_s: int, target: Target, alias: str) -> ForecastModel:
        folder = local_folder(target.source)
        if folder is not None:
            return artefact.load(folder, horizon_s, target.version, alias)
        with tempfile.TemporaryDirectory(prefix="tickcast-model-") as temporary:
            if self._served is not None and self._served.serves(target.source):
                self._served.fetch(target.source, Path(temporary))
                return artefact.load(Path(temporary), horizon_s, target.version, alias)
            return self._load_by_mlflow(horizon_s, target, alias, temporary)

    def _load_by_mlflow(self, horizon_s: int, target: Target, alias: str, temporary: str) -> ForecastModel:
        with self._answering():
            run_id, path = self._run_of(horizon_s, target)
            fetched = self._client.download_artifacts(run_id, path, temporary)
            return artefact.load(Path(fetched), horizon_s, target.version, alias)

    def _run_of(self, horizon_s: int, target: Target) -> tuple[str, str]:
        version = self._client.get_model_version(model_name(horizon_s), target.version)
        return str(version.run_id), _FOLDER

    def ensure_baseline(self, horizons_s: Sequence[int]) -> list[int]:
        """Make the volatility baseline champion of every horizon that has none that can be served.

        Returns
        -------
        Horizons that got one (s).
        """
        wanting = [horizon_s for horizon_s in horizons_s if self._champion_fault(horizon_s)]
        if not wanting:
            return []
        self._settle()
        with file_lock(self._lock, wait=True):
            faults = {horizon_s: self._champion_fault(horizon_s) for horizon_s in wanting}
            done = [horizon_s for horizon_s, fault in faults.items() if fault]
            for horizon_s in done:
                _log.info("the baseline becomes champion: %s", faults[horizon_s])
                model = BaselineModel(Origin(horizon_s))
                record = Record(tags={"kind": model.name, "source": "none"})
                version = self.register(model, record, alias="")
                self._promote(horizon_s, version)
        return done

    def _champion_fault(self, horizon_s: int) -> str:
        """Say why no champion can be served; empty where one can."""
        try:
            return "" if self.champion(horizon_s) is not None else f"{model_name(horizon_s)} has none"
        except ModelRefusedError as error:
            return str(error)

    def register(
        self, model: ForecastModel, record: Record, catboost_model: Any = None, alias: str = CHALLENGER
    ) -> str:
        """Keep a new version with its artefact; it serves nothing before `promote`.

        Parameters
        ----------
        catboost_model
            The `CatBoost` object of a trees model: logged as MLflow's CatBoost flavour in the same folder.
        alias
            What to call it, empty for nothing.

        Returns
        -------
        The version.
        """
        name = model_name(model.horizon_s)
        tags = {
            "horizon_s": str(model.horizon_s),
            "feature_set": FEATURE_SET,
            "input_set": INPUT_SET,
            "code": code_revision(),
            **record.tags,
        }
        with self._answering(), tempfile.TemporaryDirectory(prefix="tickcast-model-") as temporary:
            folder = Path(temporary) / _FOLDER
            if catboost_model is not None:
                from ml.flavour import save_flavour  # noqa: PLC0415  # CatBoost: the trainer only

                save_flavour(catboost_model, folder)
            artefact.save(model, folder)
            run = self._client.create_run(self._experiment(), run_name=f"{name} {model.name}", tags=tags)
            run_id = run.info.run_id
            for key, text in record.params.items():
                self._client.log_param(run_id, key, text)
            for key, value in record.metrics.items():
                self._client.log_metric(run_id, key, value)
            self._client.log_artifacts(run_id, str(folder), _FOLDER)
            if record.verdict:
                self._client.log_text(run_id, json.dumps(record.verdict, indent=2), VERDICT)
            self._client.set_terminated(run_id)
            self._ensure_name(name)
            source = f"{run.info.artifact_uri}/{_FOLDER}"
            version = self._client.create_model_version(name, source, run_id, tags=tags)
            if alias:
                self._client.set_registered_model_alias(name, alias, str(version.version))
        return str(version.version)

    def _ensure_name(self, name: str) -> None:
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        local = str(self._artifacts) if self._sqlite else None
        return str(self._client.create_experiment(_EXPERIMENT, artifact_location=local))

    def promote(self, horizon_s: int, version: str) -> None:
        """Make a version the champion; the former one becomes `previous`.

        Raises
        ------
        ModelRefusedError
            The version cannot be served.
        """
        self._settle()
        with file_lock(self._lock, wait=True):
            self._promote(horizon_s, version)

    def attach(self, horizon_s: int, version: str, name: str, text: str) -> None:
        """Keep a text beside the artefact of a version."""
        with self._answering():
            run_id = self._client.get_model_version(model_name(horizon_s), version).run_id
            self._client.log_text(str(run_id), text, name)

    def attached(self, horizon_s: int, alias: str, name: str) -> bytes | None:
        """Read what was attached; None where there is no such version or text. Needs no MLflow for local artefacts."""
        target = self._aliases.target(model_name(horizon_s), alias)
        if target is None:
            return None
        folder = local_folder(target.source)
        if folder is not None:
            path = folder.parent / name
            return path.read_bytes() if path.is_file() else None
        with tempfile.TemporaryDirectory(prefix="tickcast-model-") as temporary, self._answering():
            run_id, _ = self._run_of(horizon_s, target)
            if all(one.path != name for one in self._client.list_artifacts(run_id)):
                return None
            return Path(self._client.download_artifacts(run_id, name, temporary)).read_bytes()

    def prune(self, horizon_s: int, name: str, keep: int) -> list[str]:
        """Take a text away from all versions but the `keep` newest and those with an alias; gives which lost it.

        The version, its artefact and its verdict stay.
        """
        model = model_name(horizon_s)
        with self._answering():
            rows = pages(lambda **page: self._client.search_model_versions(f"name = '{model}'", **page))
            rows.sort(key=lambda row: int(row.version), reverse=True)
            gone = []
            for row in rows[keep:]:
                if PRUNED in row.tags:
                    continue
                # Asked each time: a person may promote an old one meanwhile.
                aliases = self._client.get_registered_model(model).aliases.values()
                if str(row.version) not in map(str, aliases):
                    delete_artifact(str(row.source).rpartition("/")[0], name, self.uri)
                    self._client.set_model_version_tag(model, str(row.version), PRUNED, name)
                    gone.append(str(row.version))
        return gone

    def _settle(self) -> None:
        """Create what is missing before the writer's lock is taken: the database has a lock of its own."""
        _ = self._client

    def _promote(self, horizon_s: int, version: str) -> None:
        name = model_name(horizon_s)
        with self._answering():
            found = self._client.get_model_version(name, version)
            self._load(horizon_s, Target(version, str(found.source)), CHAMPION)
            former = self._version(horizon_s, CHAMPION)
            if former == version:
                return
            if former is not None:
                self._client.set_registered_model_alias(name, PREVIOUS, former)
            self._client.set_registered_model_alias(name, CHAMPION, version)
        _log.info("%s: version %s is champion (before: %s)", name, version, former or "none")
