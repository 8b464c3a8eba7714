"""MLflow without its telemetry, its log lines and its long retries; the one place that imports it."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING, Any, Final

from ml.alias import local_folder
from redpanda.errors import MissingToolError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

__all__ = ["delete_artifact", "import_mlflow", "mlflow_client", "pages"]

_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def mlflow_client(uri: str) -> MlflowClient:
    """Connect to a tracking and registry URI; a database that is not there is created."""
    client = import_mlflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as below: more is imported here
        return client(tracking_uri=uri, registry_uri=uri)


def import_mlflow() -> type[MlflowClient]:
    """Import MLflow (about 4 s the first time in a process)."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow meets SQLAlchemy 2.1's deprecations; ours stay errors
            from mlflow import MlflowClient  # noqa: PLC0415  # heavy, and only after the environment is set
    except ImportError as error:
        raise MissingToolError(
            f"the model registry needs the packages of the extra `ml` ({error}): run `uv sync --extra ml`"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient


def pages(ask: Callable[..., Any]) -> list[Any]:
    """Give all that a paged question of the client answers."""
    found, token = [], None
    while True:
        page = ask(page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def delete_artifact(artifacts: str, name: str, uri: str) -> None:
    """Delete one artefact of a run (URI of its artefacts) of the registry at `uri`; it may be gone already."""
    folder = local_folder(artifacts)
    if folder is not None:
        (folder / name).unlink(missing_ok=True)
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: PLC0415  # heavy

    repository = get_artifact_repository(artifacts, tracking_uri=uri)
    try:
        repository.delete_artifacts(name)  # type: ignore[no-untyped-call]  # MLflow's own lack
    except NotImplementedError as error:
        raise UnreachableError(f"{artifacts} cannot be deleted from by MLflow: delete {name} there yourself") from error
