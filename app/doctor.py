"""`tickcast doctor`: what is here, what is missing, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from app import home as homes
from app.ports import is_free
from app.settings import AppSettings
from app.stack import BROKER_PORT, PORTS
from redpanda.errors import TickcastError

__all__ = ["Finding", "as_text", "examine", "is_fit"]

PACKAGES: Final = (
    "faust",
    "aiokafka",
    "rocksdict",
    "tulipy",
    "clickhouse_connect",
    "litestar",
    "chdb",
    "catboost",
    "mlflow",
)
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
MENDED_BY: Final = "run .ci/bootstrap (make does), or pip install 'tickcast[ml,local]'"


class Finding(msgspec.Struct, frozen=True):
    """One checked thing."""

    name: str
    state: str
    """`ok`, `missing` (needed), or `off` (not running now, and not needed for the check to pass)."""
    detail: str
    mend: str = ""


def examine(settings: AppSettings) -> list[Finding]:
    """Check everything; all that it leaves is the folder HOME itself."""
    home = settings.home.absolute()
    running = homes.join(home)
    return [
        _python(),
        _packages(),
        _tool(
            "C compiler",
            (os.environ.get("CC", "cc"), "--version"),
            "apt-get install build-essential, or xcode-select --install",
        ),
        *_broker_tools(),
        _home(home),
        _disk(home),
        *_ports(settings, running),
        _answers("broker", _ask_broker, "start it with tickcast demo, or set TICKCAST_BROKER_URL"),
        _answers(
            "store", _ask_store, "start it with tickcast demo or tickcast store serve, or set TICKCAST_CLICKHOUSE_URL"
        ),
        _answers("model registry", _ask_registry, "mend TICKCAST_MLFLOW_URI, or unset it for the one in HOME"),
    ]


def is_fit(findings: list[Finding]) -> bool:
    """Tell whether nothing needed is missing."""
    return all(finding.state != "missing" for finding in findings)


def as_text(findings: list[Finding], *, as_json: bool) -> str:
    """Write the findings for a person or for a program."""
    if as_json:
        return msgspec.json.format(
            msgspec.json.encode({"fit": is_fit(findings), "checks": findings}), indent=2
        ).decode()
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        mend = f" -> {finding.mend}" if finding.mend and finding.state != "ok" else ""
        lines.append(f"{finding.state:<8}{finding.name:<{width + 2}}{finding.detail}{mend}")
    return "\n".join(lines)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", "ok" if fits else "missing", f"{found}, {sys.executable}", "install Python 3.11 to 3.13")


def _packages() -> Finding:
    missing = []
    for name in PACKAGES:
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            missing.append(name)
    if missing:
        return Finding("packages", "missing", f"not installed: {', '.join(missing)}", MENDED_BY)
    return Finding("packages", "ok", ", ".join(f"{name} {number}" for name, number in homes.versions().items()))


def _tool(name: str, command: tuple[str, ...], mend: str) -> Finding:
    path = shutil.which(command[0])
    if path is None:
        return Finding(name, "missing", f"{command[0]} is not on PATH", mend)
    try:
        told = subprocess.run((path, *command[1:]), capture_output=True, text=True, timeout=60, check=True)  # noqa: S603  # found by which
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, "missing", f"{path} does not work: {error}", mend)
    first = ANSI.sub("", (told.stdout or told.stderr).strip().partition("\n")[0])
    return Finding(name, "ok", f"{path} ({first})")


def _broker_tools() -> list[Finding]:
    """Look for Java and Maven; where a Docker engine answers, neither is needed."""
    from redpanda.local import container

    mend = "apt-get install maven, or brew install maven (needed once, for the broker)"
    found = [_java(), _tool("Maven", ("mvn", "--version"), mend)]
    if is_fit(found) or container.engine() is None:
        return found
    why = "a Docker engine answers: the broker will be Redpanda's image instead"
    return [one if one.state == "ok" else Finding(one.name, "off", why) for one in found]


def _java() -> Finding:
    from redpanda.local.checks import find_java

    try:
        return Finding("Java", "ok", find_java())
    except TickcastError as error:
        return Finding("Java", "missing", str(error))


def _home(home: Path) -> Finding:
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(
            "HOME", "missing", f"{home}: {error.strerror}", "set TICKCAST_HOME to a folder that you can write"
        )
    return Finding("HOME", "ok", str(home))


def _disk(home: Path) -> Finding:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    enough = free >= homes.NEED_BYTES
    return Finding(
        "disk", "ok" if enough else "missing", f"{free / 1e9:.1f} GB free at {there}", "free some: 1 GB is needed"
    )


def _ports(settings: AppSettings, running: int | None) -> list[Finding]:
    wanted = {name.removeprefix("TICKCAST_"): int(getattr(settings, field)) for name, field in PORTS.items()}
    wanted["BROKER"] = BROKER_PORT
    busy = [f"{name}={port}" for name, port in wanted.items() if not is_free(port)]
    if not busy:
        return [Finding("ports", "ok", "all default ports are free")]
    if running is not None:
        return [Finding("ports", "ok", f"a stack runs here (process {running})")]
    named = [name for name in PORTS if name in os.environ and not is_free(int(getattr(settings, PORTS[name])))]
    if named:
        return [Finding("ports", "missing", f"busy: {', '.join(busy)}", f"free them, or change {', '.join(named)}")]
    return [Finding("ports", "ok", f"busy: {', '.join(busy)}; tickcast demo takes the next free ones")]


def _answers(name: str, ask: Callable[[], str], mend: str) -> Finding:
    try:
        return Finding(name, "ok", ask())
    except TickcastError as error:
        return Finding(name, "off", " ".join(str(error).split()), mend)


def _ask_broker() -> str:
    from redpanda import admin
    from redpanda.settings import BrokerSettings

    settings = BrokerSettings()
    with admin.connect(settings, timeout_s=3) as client:
        found = admin.diff(client, settings)
    topics = "topics as declared" if found.empty else "topics differ: run tickcast topics apply"
    return f"{settings.broker_url} answers; {topics}"


def _ask_store() -> str:
    from tables.clickhouse import client, migrate
    from tables.clickhouse.settings import StoreSettings

    settings = StoreSettings(store_connect_timeout_s=2)
    store = client.connect(settings)
    try:
        problems = migrate.verify(store)
    finally:
        store.close()
    if problems:
        raise TickcastError(problems[0])
    return f"{settings.clickhouse_url.rpartition('@')[2]} answers; the schema is up to date"


def _ask_registry() -> str:
    from ml.registry import Registry
    from ml.settings import MlSettings

    settings = MlSettings()
    registry = Registry(settings)
    champions = {horizon: registry.champion(horizon) for horizon in settings.horizons_s}
    named = [f"{horizon} s: {model.name} v{model.version}" for horizon, model in champions.items() if model]
    return "; ".join(named) or "no champion yet: the trainer sets the first"
