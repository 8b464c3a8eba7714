"""An MLflow server asked by plain HTTP: where an alias points, and the two files of an artefact that it serves.

The same questions through MLflow cost a worker 4 s of imports and 200 MB, nine requests a swap, and 20 s where the
server hangs. A server that wants more (credentials, certificates, a proxy) is asked through MLflow all the same.
"""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from ml.alias import Target
from ml.artefact import FORECASTER, TREES
from redpanda.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServedRegistry"]

ASK_S: Final = 3.0
"""A server that is silent for longer does not answer."""
FETCH_S: Final = 10.0
MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest file that is taken; a model has about one MB."""
_API: Final = "/api/2.0"
_SCHEME: Final = "mlflow-artifacts:/"
_NOT_THERE: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class _ModelVersion(msgspec.Struct, frozen=True):
    version: str
    source: str


class _Answer(msgspec.Struct, frozen=True):
    model_version: _ModelVersion


class _Refusal(msgspec.Struct, frozen=True):
    error_code: str


class ServedRegistry:
    """One MLflow server; each question has a connection of its own."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._parts = urlsplit(uri)

    @staticmethod
    def may_ask(uri: str, environment: Mapping[str, str] = os.environ) -> bool:
        """Tell whether plain HTTP will do for a server."""
        parts = urlsplit(uri)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            return False
        named = {name for name in environment if name.startswith("MLFLOW_TRACKING_")} - {"MLFLOW_TRACKING_URI"}
        has_credentials = bool(named) or (Path.home() / ".mlflow" / "credentials").exists()
        has_proxy = parts.scheme in getproxies() and not proxy_bypass(parts.hostname)
        return not has_credentials and not has_proxy and "MLFLOW_WORKSPACE" not in environment

    def target(self, name: str, alias: str) -> Target | None:
        """Ask where an alias points; None where it does not exist. Raises UnreachableError."""
        query = urlencode({"name": name, "alias": alias})
        status, body = self._get(f"{_API}/mlflow/registered-models/alias?{query}", ASK_S)
        try:
            if status == http.client.OK:
                found = msgspec.json.decode(body, type=_Answer).model_version
                return Target(found.version, found.source)
            if msgspec.json.decode(body, type=_Refusal).error_code in _NOT_THERE:
                return None
        except msgspec.DecodeError as error:
            raise self._unreachable(f"HTTP {status}, and no answer of MLflow: {error}") from error
        raise self._unreachable(f"HTTP {status}: {body[:200].decode('utf-8', 'replace')}")

    @staticmethod
    def serves(source: str) -> bool:
        """Tell whether an artefact comes from the server itself, not from a store of its own."""
        return source.startswith(_SCHEME) and not source.startswith(f"{_SCHEME}/")

    def fetch(self, source: str, folder: Path) -> None:
        """Copy the files of an artefact that are there. Raises UnreachableError."""
        path = quote(source.removeprefix(_SCHEME))
        for name in (FORECASTER, TREES):
            status, body = self._get(f"{_API}/mlflow-artifacts/artifacts/{path}/{name}", FETCH_S)
            if status == http.client.OK:
                (folder / name).write_bytes(body)
            elif status != http.client.NOT_FOUND:
                raise self._unreachable(f"HTTP {status} for {name}")

    def _get(self, path: str, timeout_s: float) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=timeout_s)
        try:
            connection.request("GET", self._parts.path.rstrip("/") + path, headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES + 1)
            whole = answer.length in {None, 0}
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(str(error) or repr(error)) from error
        finally:
            connection.close()
        if not whole or len(body) > MAX_BYTES:
            raise self._unreachable(f"{len(body)} bytes that are not the whole answer")
        return answer.status, body

    def _unreachable(self, why: str) -> UnreachableError:
        return UnreachableError(f"the model registry {self._uri} did not answer ({why}): check TICKCAST_MLFLOW_URI")
