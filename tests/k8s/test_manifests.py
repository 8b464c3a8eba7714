"""The manifests against the code: they parse, are hardened, and name settings and ports that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not among the packages

from agents.trades.settings import IngestSettings
from api.settings import ApiSettings
from app.worker_settings import WorkerSettings
from docs.generate_settings import CLASSES, load, variable
from ml.settings import TrainerSettings
from redpanda.settings import BrokerSettings

ROOT = Path(__file__).parents[2]
BASE = ROOT / "k8s" / "base"
# Grafana's own files are no manifests: tests/k8s/grafana.
FILES = sorted(file for file in (ROOT / "k8s").rglob("*.yaml") if "provisioning" not in file.parts)
USER = 10_001
READS_STORE = {"migrate", "worker", "trainer", "api"}

Document = dict[str, Any]


def documents() -> Iterator[tuple[str, Document]]:
    for file in FILES:
        for document in yaml.safe_load_all(file.read_text()):
            yield str(file.relative_to(ROOT)), document


def pods() -> Iterator[tuple[str, Document]]:
    """Pod specs, also the part of one in a patch."""
    for name, document in documents():
        spec = document.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            yield f"{name}:{document['metadata']['name']}", template["spec"]


def containers() -> Iterator[tuple[str, Document]]:
    for name, pod in pods():
        for one in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}:{one['name']}", one


def env_file() -> dict[str, str]:
    lines = (BASE / "tickcast.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def overlay_values() -> dict[str, str]:
    found: dict[str, str] = {}
    for _, document in documents():
        for generator in document.get("configMapGenerator", []):
            found |= dict(line.split("=", 1) for line in generator.get("literals", []))
    return found


def policies() -> dict[str, Document]:
    return {one["metadata"]["name"]: one["spec"] for _, one in documents() if one["kind"] == "NetworkPolicy"}


def test_every_file_parses_and_every_document_has_a_kind() -> None:
    assert FILES
    assert [name for name, one in documents() if not {"apiVersion", "kind"} <= one.keys()] == []


def test_base_lists_every_manifest() -> None:
    listed = set(yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"])
    assert listed == {file.name for file in BASE.glob("*.yaml")} - {"kustomization.yaml"}


def test_every_container_is_locked_down() -> None:
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {name for name, one in containers() if one.get("securityContext") != wanted} == set()


def test_every_pod_runs_as_the_image_user_under_the_default_seccomp_profile() -> None:
    whole = {name: pod for name, pod in pods() if name.startswith("k8s/base/")}
    assert whole
    for name, pod in whole.items():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == USER, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
    assert f"\nUSER {USER}:{USER}\n" in (ROOT / "Dockerfile").read_text()


def test_every_container_can_write_where_it_has_to_and_is_bounded() -> None:
    for name, one in containers():
        mounts = {mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")}
        assert mounts == {env_file()["TICKCAST_HOME"], "/tmp"}, name  # noqa: S108  # a volume of the pod
        assert one["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert "memory" in one["resources"]["limits"], name


def test_every_container_runs_a_command_that_exists() -> None:
    text = "\n".join(file.read_text() for file in (ROOT / "app" / "cli").glob("*.py"))
    for name, one in containers():
        for word in one["args"]:
            known = f'"{word}"' if word.startswith("--") else f"\ndef {word}("
            assert known in text or f'name="{word}"' in text, (name, word)


def test_every_variable_is_a_setting() -> None:
    known = {variable(cls, name, one) for cls in map(load, CLASSES) for name, one in cls.model_fields.items()}
    named = {*env_file(), *overlay_values()}
    named |= {entry["name"] for _, one in containers() for entry in one.get("env", [])}
    assert {name for name in named if name.startswith("TICKCAST_")} - known == set()


def test_the_values_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for values in ({}, overlay_values()):
        for name, value in (env_file() | values).items():
            monkeypatch.setenv(name, value)
        broker, ingest, trainer = BrokerSettings(), IngestSettings(), TrainerSettings()
        assert broker.partitions == int((env_file() | values)["TICKCAST_PARTITIONS"])
        assert trainer.mlflow_uri.startswith("http")
        assert ApiSettings().pairs == ingest.pairs
        assert str(WorkerSettings(worker_name="tickcast-worker-10").home) == "/data"


def test_nobody_has_more_workers_than_partitions() -> None:
    replicas = {one["metadata"]["name"]: one["spec"].get("replicas") for _, one in documents() if "spec" in one}
    assert replicas["tickcast-worker"] <= int(env_file()["TICKCAST_PARTITIONS"])


def test_scheduled_training_takes_the_place_of_the_deployment() -> None:
    folder = ROOT / "k8s" / "overlays" / "scheduled-training"
    job = yaml.safe_load((folder / "cronjob.yaml").read_text())
    assert (job["kind"], job["spec"]["concurrencyPolicy"]) == ("CronJob", "Forbid")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["containers"][0]["args"] == ["train", "--once"]
    deployment = yaml.safe_load((BASE / "trainer.yaml").read_text())
    removed = yaml.safe_load(yaml.safe_load((folder / "kustomization.yaml").read_text())["patches"][0]["patch"])
    assert removed["metadata"]["name"] == deployment["metadata"]["name"]
    assert pod["metadata"]["labels"] == deployment["spec"]["template"]["metadata"]["labels"], "one network policy"
    reached = {
        name: set(policies()[name]["podSelector"]["matchExpressions"][0]["values"])
        for name in ("to-broker", "to-store", "to-registry")
    }
    assert all({"trainer", "api"} <= values for values in reached.values())


def test_secrets_are_only_referred_to() -> None:
    assert [name for name, one in documents() if one["kind"] == "Secret" or "secretGenerator" in one] == []
    for name, one in containers():
        secret = {entry["name"] for entry in one.get("env", []) if "secretKeyRef" in entry.get("valueFrom", {})}
        assert secret == ({"TICKCAST_CLICKHOUSE_URL"} if one["name"] in READS_STORE else set()), name


def test_ports_are_the_defaults_of_the_settings() -> None:
    api, ingest = ApiSettings.model_fields["api_port"].default, IngestSettings.model_fields["ingest_port"].default
    ports = {port["containerPort"] for _, one in containers() for port in one.get("ports", [])}
    metrics = int(env_file()["TICKCAST_METRICS_ADDRESS"].rpartition(":")[2])
    assert ports == {api, metrics}
    assert policies()["from-prometheus"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": metrics}]
    scraped = policies()["from-prometheus"]["podSelector"]["matchExpressions"][0]["values"]
    for component in scraped:
        assert f'prometheus.io/port: "{metrics}"' in (BASE / f"{component}.yaml").read_text()
    assert policies()["from-clients"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": api}]
    urls = set(re.findall(r"http://127\.0\.0\.1:(\d+)", (BASE / "ingest.yaml").read_text()))
    assert urls == {str(ingest)}
    worker = WorkerSettings.model_fields["worker_port"].default
    assert set(re.findall(r"http://127\.0\.0\.1:(\d+)", (BASE / "worker.yaml").read_text())) == {str(worker)}


def test_network_lets_out_to_the_addresses_of_the_settings() -> None:
    allowed = {}
    for name in ("to-broker", "to-registry"):
        rule = policies()[name]["egress"][0]
        namespace = rule["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        allowed[name] = (namespace, rule["ports"][0]["port"])
    broker = urlsplit(f"//{env_file()['TICKCAST_BROKER_URL']}")
    registry = urlsplit(env_file()["TICKCAST_MLFLOW_URI"])
    assert allowed["to-broker"] == (str(broker.hostname).split(".")[1], broker.port)
    assert allowed["to-registry"] == (str(registry.hostname).split(".")[1], registry.port)


def test_network_denies_by_default() -> None:
    assert policies()["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_probe_paths_are_served() -> None:
    routes = (ROOT / "api" / "health.py").read_text()
    probes = (one.get(kind) for _, one in containers() for kind in ("startupProbe", "livenessProbe", "readinessProbe"))
    paths = {probe["httpGet"]["path"] for probe in probes if probe and "httpGet" in probe}
    assert paths == {"/health/live", "/health/ready"}
    assert all(f'"{path}"' in routes for path in paths)
    pages = (ROOT / "app" / "health_pages.py").read_text()
    asked = set(re.findall(r"http://127\.0\.0\.1:\d+(/[a-z/]+)", (BASE / "worker.yaml").read_text()))
    assert asked == {"/health/live", "/health/ready"}
    assert all(f'"{path}"' in pages for path in asked)


def test_image_uses_the_uv_of_the_bootstrap() -> None:
    wanted = re.search(r"readonly UV='([^']+)'", (ROOT / ".ci" / "bootstrap").read_text())
    assert wanted is not None
    assert f"'{wanted[1]}'" in (ROOT / "Dockerfile").read_text()


def test_image_holds_every_package_of_the_wheel() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    wheel = re.search(r"^packages = \[(.+)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert wheel is not None
    assert copied == set(re.findall(r'"(\w+)"', wheel[1]))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: kustomize is not run")
@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/scheduled-training"])
def test_kustomize_builds(folder: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "k8s" / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert {one["kind"] for one in built} >= {"StatefulSet", "Deployment", "Job", "NetworkPolicy", "ConfigMap"}
    config = next(one for one in built if one["kind"] == "ConfigMap" and "TICKCAST_SOURCE" in one["data"])
    assert config["data"]["TICKCAST_SOURCE"] == ("sim" if folder == "overlays/local" else "kraken")
