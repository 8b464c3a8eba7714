"""MLflow without its telemetry, its log lines and its long retries; the one place that imports it."""

from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING, Final

from redpanda.errors import MissingToolError

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["import_mlflow", "mlflow_client"]

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
