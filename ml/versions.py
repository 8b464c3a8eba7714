"""What a person sees and does in the registry: list versions, look at one, promote, roll back."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from ml.alias import local_folder
from ml.lock import file_lock
from ml.quiet_mlflow import pages
from ml.registry import CHAMPION, PREVIOUS, VERDICT, Registry, model_name
from redpanda.errors import ConfigError

__all__ = ["Shelf", "Version", "horizon_of", "number", "read_version"]


class Version(msgspec.Struct, frozen=True):
    """One version of the registered model of a horizon."""

    horizon_s: int
    version: str
    kind: str
    """`ewma-vol` (the baseline), `catboost`."""
    aliases: list[str]
    """Of `challenger`, `champion`, `previous`."""
    created_ms: int
    verdict: str
    """`promote` or `refuse`, as the gate said; empty for the untrained baseline."""
    refused_for: str
    forced: str
    """Why a person promoted it all the same."""
    pinball_skill: float | None
    """Over the trained baseline on the test block (share)."""
    data_from_ms: int | None
    data_to_ms: int | None
    source: str
    feature_set: str
    input_set: str
    code: str
    run_id: str
    artifacts: str
    """URI of the run's artefacts: `model/`, `verdict.json`, `report.html`."""
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


def read_version(horizon_s: int, row: Any, run: Any, aliases: list[str]) -> Version:
    """Put MLflow's model version and its run together."""
    tags: dict[str, str] = dict(row.tags)
    metrics: dict[str, float] = dict(run.data.metrics)
    return Version(
        horizon_s=horizon_s,
        version=str(row.version),
        kind=tags.get("kind", ""),
        aliases=aliases,
        created_ms=int(row.creation_timestamp),
        verdict=tags.get("verdict", ""),
        refused_for=tags.get("refused_for", ""),
        forced=tags.get("forced", ""),
        pinball_skill=metrics.get("pinball_skill"),
        data_from_ms=number(tags.get("data_from_ms")),
        data_to_ms=number(tags.get("data_to_ms")),
        source=tags.get("source", ""),
        feature_set=tags.get("feature_set", ""),
        input_set=tags.get("input_set", ""),
        code=tags.get("code", ""),
        run_id=str(row.run_id),
        artifacts=str(run.info.artifact_uri),
        tags=tags,
        params=dict(run.data.params),
        metrics=metrics,
    )


def number(text: str | None) -> int | None:
    """Read a tag that is a whole number; None where it is not one."""
    return int(text) if text and text.lstrip("-").isdigit() else None


def horizon_of(name: str) -> int | None:
    """Give the horizon (s) of a registered model; None where the model is not ours."""
    found = re.fullmatch(r"tickcast-(\d+)s", name)
    return int(found[1]) if found else None


class Shelf(Registry):
    """The registry with what people ask of it."""

    def promote_by_hand(self, horizon_s: int, version: str, force: str = "") -> None:
        """Promote what a person asks for; what the gate refused only with a reason, which becomes a tag.

        Raises
        ------
        ConfigError
            There is no such version, or the gate refused it and no reason is given.
        ModelRefusedError
            The version cannot be served.
        """
        found = self.version(horizon_s, version)
        if found.verdict == "refuse" and not force.strip():
            raise ConfigError(
                f"version {version} of {model_name(horizon_s)} was refused by the gate "
                f"({found.refused_for or 'no reason kept'}): promote another one (`tickcast models list`), "
                "or give your reason with --force REASON"
            )
        with file_lock(self._lock, wait=True):
            self._promote(horizon_s, version)
            if found.verdict == "refuse":
                with self._answering():
                    self._client.set_model_version_tag(model_name(horizon_s), version, "forced", force.strip())

    def rollback(self, horizon_s: int) -> str:
        """Make `previous` the champion again, and the champion `previous`; gives the version that serves now.

        Raises
        ------
        ConfigError
            There is no previous one.
        ModelRefusedError
            The previous one cannot be served; the champion stays.
        """
        self._settle()
        with file_lock(self._lock, wait=True):
            former = self._version(horizon_s, PREVIOUS)
            if former is None or former == self._version(horizon_s, CHAMPION):
                raise ConfigError(
                    f"{model_name(horizon_s)} has no previous champion to go back to: choose a version with "
                    "`tickcast models list`, then `tickcast models promote VERSION --horizon MINUTES`"
                )
            self._promote(horizon_s, former)
        return former

    def versions(self) -> list[Version]:
        """List every version of every horizon, newest first; nothing where the registry is not there yet."""
        if self._sqlite is not None and not self._sqlite.exists():
            return []
        with self._answering():
            names = [one.name for one in pages(self._client.search_registered_models)]
            horizons = sorted(h for h in map(horizon_of, names) if h is not None)
            found = [one for horizon_s in horizons for one in self._of_horizon(horizon_s)]
        return sorted(found, key=lambda one: (one.horizon_s, -int(one.version)))

    def version(self, horizon_s: int, version: str) -> Version:
        """Give one version. Raises ConfigError where there is none."""
        for one in self.versions():
            if (one.horizon_s, one.version) == (horizon_s, version):
                return one
        raise ConfigError(
            f"{model_name(horizon_s)} has no version {version}: `tickcast models list` shows what there is"
        )

    def checks(self, version: Version) -> list[dict[str, Any]]:
        """Give the checks of the gate as they were kept; nothing of a version that was never before it."""
        folder = local_folder(version.artifacts)
        with tempfile.TemporaryDirectory(prefix="tickcast-model-") as temporary, self._answering():
            if all(one.path != VERDICT for one in self._client.list_artifacts(version.run_id)):
                return []
            path = folder or Path(self._client.download_artifacts(version.run_id, VERDICT, temporary)).parent
            kept: dict[str, Any] = json.loads((path / VERDICT).read_bytes())
        return list(kept.get("report", {}).get("checks", []))

    def _of_horizon(self, horizon_s: int) -> list[Version]:
        name = model_name(horizon_s)
        aliases: dict[str, list[str]] = {}
        for alias, number in self._client.get_registered_model(name).aliases.items():
            aliases.setdefault(str(number), []).append(alias)
        rows = pages(lambda **page: self._client.search_model_versions(f"name = '{name}'", **page))
        return [
            read_version(horizon_s, row, self._client.get_run(row.run_id), sorted(aliases.get(str(row.version), [])))
            for row in rows
        ]
